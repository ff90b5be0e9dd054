"""Where users may point the server, by the text of a URL and by the address behind it."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.domain.errors import InvalidInput
from tidings.egress.addresses import OPEN_PORTS, AllowedHosts, destination, is_public

NOBODY = AllowedHosts()


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254",
        "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8",
        "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.7",
        "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:a9fe:a9fe",
        "::ffff:0:127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "64:ff9b:1::8.8.8.8",
        "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "2001:10::1",
        "2002:7f00:1::", "2002:808:808::", "3fff::1", "fc00::1", "fd00:ec2::254", "fe80::1",
        "fec0::1", "ff02::1", "ff0e::1", "2a00:1450::5efe:10.0.0.1", "2a00:1450::200:5efe:10.0.0.1",
    ],
)  # fmt: skip
def test_an_address_that_is_not_for_everyone_is_not_public_however_it_is_dressed(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "text",
    ["8.8.8.8", "1.1.1.1", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "2a00:1450:4001::200e",
     "::ffff:8.8.8.8", "64:ff9b::808:808"],
)  # fmt: skip
def test_an_address_for_everyone_is_public(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "url",
    [
        "", "https://", "https:///x", "//example.com", "example.com", "http://example.com/",
        "http://localhost/", "https://localhost/", "https://intranet/hook", "https://127.0.0.1/",
        "https://0x7f.1/", "https://2130706433/", "https://127.1/", "https://0177.0.0.1/",
        "https://0x7f000001/", "https://127.0.0.1./", "https://①②⑦.⓪.⓪.①/", "https://bücher.de/",
        "https://169.254.169.254/latest/meta-data", "https://[::1]/", "https://[::ffff:7f00:1]/",
        "https://[::ffff:127.0.0.1]/", "https://[fe80::1%25eth0]/", "https://[::1/", "https://::1/",
        "https://[v1.x]/", "https://a@127.0.0.1/", "https://user:secret@example.com/",
        "https://example.com:22/", "https://example.com:6379/", "https://example.com:5432/",
        "https://example.com:80/", "https://example.com:0/", "https://example.com:/",
        "https://example.com:99999/", "https://example.com:+443/", "https://example.com:\uff14\uff14\uff13/",
        "https://example.com\\@127.0.0.1/", "https://exa mple.com/", "https://example.com/\r\nX: y",
        "https://example.com/#fragment", "https://example.com\t/", " https://example.com/",
        "https://%31%32%37.0.0.1/", "https://a..b.com/", "https://-a.com/", "gopher://example.com/",
        "file:///etc/passwd", "ftp://example.com/", "data:text/plain,x", "javascript:alert(1)",
        "https://example.com/" + "x" * 2048, "https://" + "a" * 64 + ".com/",
    ],
)  # fmt: skip
def test_a_url_that_leads_inside_or_is_read_in_two_ways_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        destination(url, NOBODY)
    assert refused.value.code == "url_blocked"


def test_a_good_url_is_taken_apart() -> None:
    to = destination("HTTPS://Example.COM.:8443/hook@x?a=1&b=2", NOBODY)
    assert (to.scheme, to.host, to.port) == ("https", "example.com", 8443)
    assert (to.target, to.authority) == ("/hook@x?a=1&b=2", "example.com:8443")
    assert not to.trusted
    assert destination("https://example.com", NOBODY).target == "/"
    assert destination("https://example.com:443", NOBODY).authority == "example.com"
    assert destination("https://[2606:4700::1111]/", NOBODY).authority == "[2606:4700::1111]"


def test_the_operator_allows_a_host_exactly_as_it_is_named() -> None:
    allowed = AllowedHosts(["127.0.0.1:9000", "n8n.lan", "[::1]:9000"])
    for url in ("http://127.0.0.1:9000/x", "https://127.0.0.1:9000/", "http://n8n.lan/",
                "https://n8n.lan:8443/", "http://[::1]:9000/"):  # fmt: skip
        assert destination(url, allowed).trusted
    for url in ("http://127.0.0.1:9001/", "http://127.0.0.1/", "http://n8n.lan:5678/",
                "http://x.n8n.lan/", "http://localhost:9000/", "http://[::2]:9000/"):  # fmt: skip
        with pytest.raises(InvalidInput):
            destination(url, allowed)


@pytest.mark.parametrize("entry", ["", "http://x", "x:port", "a b", "x/y", "u@x"])
def test_an_allowance_that_is_no_host_is_refused(entry: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        AllowedHosts([entry])
    assert refused.value.code == "bad_setting"


@given(
    st.text("htps:/.[]@#?%\\0179afx-_ \n\uff0e", max_size=40)
    | st.builds("https://{}".format, st.text("0123456789abcdefx.:[]%-_@", max_size=40))
)
def test_whatever_is_given_it_is_refused_or_leads_outside(url: str) -> None:
    try:
        to = destination(url, NOBODY)
    except InvalidInput:
        return
    assert to.scheme == "https"
    assert to.port in OPEN_PORTS
    assert "." in to.host or ":" in to.host
    assert to.literal is None or is_public(to.literal)
