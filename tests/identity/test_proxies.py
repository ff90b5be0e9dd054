"""Whose address asks: what the operator's proxies add is believed, and nothing that clients say."""

import pytest

from tidings.domain.errors import InvalidInput
from tidings.identity.proxies import HOPS_MAX, proxies_of
from tidings.settings import load

OURS = proxies_of("10.0.0.0/8, 192.168.7.1, 2001:db8:1::/48")
PROXY, ANA, EVE = "10.1.2.3", "203.0.113.7", "198.51.100.66"


@pytest.mark.parametrize(
    ("said", "client"),
    [
        ([], PROXY),
        ([ANA], ANA),
        ([f"{ANA}:4711"], ANA),
        ([f"{EVE}, {ANA}"], ANA),
        ([EVE, ANA], ANA),
        ([f"{EVE}, {ANA}, 10.9.9.9"], ANA),
        ([f"{EVE}, {ANA}, 10.9.9.9, 192.168.7.1"], ANA),
        ([f"{EVE}, {ANA}, 192.168.7.2"], "192.168.7.2"),
        (["10.4.4.4"], "10.4.4.4"),
        (["2001:db8:2::7"], "2001:db8:2::7"),
        (["[2001:db8:2::7]:443"], "2001:db8:2::7"),
        (["2001:DB8:2:0:0:0:0:7"], "2001:db8:2::7"),
        ([f"{EVE}, 2001:db8:1::9"], EVE),
        ([f"::ffff:{ANA}"], ANA),
        ([f"{EVE}, unknown"], PROXY),
        ([f"{EVE}, "], PROXY),
        ([f"{EVE}, {ANA}x"], PROXY),
        ([f"{EVE}, fe80::1%{EVE}"], PROXY),
        ([f"{EVE}, 0203.0.113.7"], PROXY),
        ([f"{EVE}, 3405803783"], PROXY),
        ([f"{EVE}, unknown, 10.9.9.9"], "10.9.9.9"),
        ([f"{EVE}, " + "10.9.9.9, " * HOPS_MAX + "10.9.9.9"], "10.9.9.9"),
        (["x" * 60_000], PROXY),
        ([", " * 30_000], PROXY),
    ],
)
def test_the_nearest_address_that_is_no_proxys_is_the_clients(said: list[str], client: str) -> None:
    assert OURS.client(PROXY, said, []) == client


@pytest.mark.parametrize(
    ("said", "client"),
    [
        ([f"for={ANA}"], ANA),
        ([f"For={ANA};proto=https;by=10.0.0.1"], ANA),
        ([f'for={EVE}, for="{ANA}:4711";host=tidings.example'], ANA),
        ([f"for={EVE}", 'for="[2001:db8:2::7]:443"'], "2001:db8:2::7"),
        ([f"for={ANA}, for=10.9.9.9"], ANA),
        ([f"for={EVE}, for=_hidden"], PROXY),
        ([f"for={EVE}, for=unknown"], PROXY),
        ([f"for={EVE}, by=10.0.0.1"], PROXY),
        ([f"for={ANA};for={EVE}"], PROXY),
        ([f'for={ANA};host="evil, for={EVE}"'], PROXY),
        ([f'for="x, for={ANA}'], PROXY),
        ([f'for="x\\", for={ANA}'], PROXY),
        ([f"for={EVE}, {ANA}"], PROXY),
        ([f"for={ANA};"], PROXY),
        (["for="], PROXY),
        (['"' * 60_000], PROXY),
        ([" " * 60_000 + "x"], PROXY),
    ],
)
def test_the_standard_header_is_read_the_same_way_or_not_at_all(
    said: list[str], client: str
) -> None:
    assert OURS.client(PROXY, [], said) == client


@pytest.mark.parametrize("peer", [EVE, "unknown", "", "2001:db8:2::7", "::ffff:198.51.100.66"])
def test_nobody_but_the_named_is_believed(peer: str) -> None:
    assert OURS.client(peer, [ANA], []) == peer
    assert OURS.client(peer, [], [f"for={ANA}"]) == peer
    assert proxies_of("").client(PROXY, [ANA], []) == PROXY


def test_a_proxy_is_one_also_when_its_address_is_written_as_one_of_ipv6() -> None:
    assert OURS.client("::ffff:10.1.2.3", [ANA], []) == ANA


def test_of_two_headers_one_is_the_clients_own_word_and_neither_is_believed() -> None:
    assert OURS.client(PROXY, [ANA], [f"for={EVE}"]) == PROXY


@pytest.mark.parametrize("text", ["balancer", "10.0.0.1/8", "10.0.0.0/40", "0.0.0.0/0", "::/0"])
def test_a_setting_that_names_no_networks_or_everybody_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        load({}, {"TIDINGS_TRUSTED_PROXIES": f"127.0.0.1, {text}"})
    assert refusal.value.code == "bad_setting"
    assert "TIDINGS_TRUSTED_PROXIES" in refusal.value.message
