"""Requests to where users point, over real sockets: the checked address is the one called."""

import asyncio
import ipaddress
import ssl
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.fakes.receiver import GOOD, HUGE, NOT_HTTP, SILENT, receiving, redirect
from tidings.domain.errors import Failure, TidingsError
from tidings.egress import http
from tidings.egress.addresses import Address, AllowedHosts
from tidings.egress.http import Egress, Resolve


def answers(*rounds: list[str]) -> Resolve:
    """Return a resolver that gives these addresses, one list after the other."""
    left = list(rounds)

    async def resolve(host: str, port: int) -> list[str]:
        return left.pop(0)

    return resolve


async def posted(egress: Egress, url: str) -> int:
    async with egress.opened() as outbound:
        return await outbound.post(url, {"x-test": "1"}, b"body")


async def refused(egress: Egress, url: str) -> str:
    with pytest.raises(TidingsError) as error:
        await posted(egress, url)
    return error.value.code


@pytest.mark.parametrize(
    "found",
    [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:7f00:1"], ["169.254.169.254"], ["10.0.0.1"]],
)
def test_a_name_with_one_address_inside_is_not_called(found: list[str]) -> None:
    egress = Egress(AllowedHosts(), answers(found))
    assert asyncio.run(refused(egress, "https://example.com/")) == "url_blocked"


def test_a_name_that_changes_its_address_after_the_check_leads_nowhere_else() -> None:
    """DNS rebinding: there is one look-up, and what it gave is what is called."""

    async def scenario() -> None:
        async with receiving() as canary, receiving() as target:
            name = f"hook.example:{target.host.rpartition(':')[2]}"
            egress = Egress(AllowedHosts([name]), answers(["127.0.0.1"], ["127.0.0.2"]))
            assert await posted(egress, f"http://{name}/a?b=c") == 200
            assert target.received[0].line == "POST /a?b=c HTTP/1.1"
            assert target.received[0].headers["host"] == name
            assert target.received[0].body == b"body"
            assert canary.connections == 0

    asyncio.run(scenario())


def test_a_redirect_is_not_followed() -> None:
    async def scenario() -> None:
        async with receiving() as canary, receiving(redirect(canary.url)) as target:
            egress = Egress(AllowedHosts([target.host, canary.host]))
            assert await posted(egress, target.url) == 302
            assert (target.connections, canary.connections) == (1, 0)

    asyncio.run(scenario())


def test_a_huge_answer_is_not_read() -> None:
    async def scenario() -> None:
        async with receiving(HUGE) as target:
            assert await posted(Egress(AllowedHosts([target.host])), target.url) == 200
            assert target.sent_bytes < 16 * 1024 * 1024

    asyncio.run(scenario())


@pytest.mark.parametrize(("answer", "drip"), [(SILENT, 0.0), (GOOD, 0.05)])
def test_who_answers_slowly_or_never_is_left(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, drip: float
) -> None:
    monkeypatch.setattr(http, "REQUEST_SECONDS", 0.3)

    async def scenario() -> None:
        async with receiving(answer, drip=drip) as target:
            egress = Egress(AllowedHosts([target.host]))
            assert await refused(egress, target.url) == "url_timeout"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 99999 X\r\n\r\n", b"HTTP/1.1 -1 X\r\n\r\n", b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: no name\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: \xff\x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000,
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 1_000_000, b"\x16\x03\x01\x02\x00", b"\r\n" * 1000,
        b"HTTP", b"HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\nzz",
    ],
)  # fmt: skip
def test_a_hostile_answer_is_a_status_or_a_refusal(
    monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setattr(http, "REQUEST_SECONDS", 0.5)

    async def scenario() -> None:
        async with receiving(answer) as target:
            with suppress(Failure):
                assert 100 <= await posted(Egress(AllowedHosts([target.host])), target.url) < 1000

    asyncio.run(scenario())


def test_what_is_no_http_or_not_there_is_unreachable() -> None:
    async def scenario() -> None:
        async with receiving(NOT_HTTP) as target:
            egress = Egress(AllowedHosts([target.host]))
            assert await refused(egress, target.url) == "url_unreachable"
        assert await refused(egress, target.url) == "url_unreachable"

    asyncio.run(scenario())


def test_the_next_address_is_tried_when_one_takes_no_connection() -> None:
    async def scenario() -> None:
        async with receiving() as target:
            name = f"hook.example:{target.host.rpartition(':')[2]}"
            egress = Egress(AllowedHosts([name]), answers(["127.0.0.77", "127.0.0.1"]))
            assert await posted(egress, f"http://{name}/") == 200

    asyncio.run(scenario())


def test_the_certificate_must_be_of_the_name_though_an_address_is_called(tmp_path: Path) -> None:
    believed = certificate(tmp_path, "hook.example")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "certificate", tmp_path / "key")

    async def scenario() -> None:
        async with receiving(tls=tls) as target:
            port = target.host.rpartition(":")[2]
            names = [f"hook.example:{port}", f"other.example:{port}"]
            egress = Egress(
                AllowedHosts(names), answers(["127.0.0.1"], ["127.0.0.1"]), tls=believed
            )
            assert await posted(egress, f"https://{names[0]}/") == 200
            assert await refused(egress, f"https://{names[1]}/") == "url_unreachable"
            assert len(target.received) == 1

    asyncio.run(scenario())


def certificate(folder: Path, name: str) -> ssl.SSLContext:
    """Write a certificate for a name; return what believes in it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    (folder / "certificate").write_bytes(pem)
    (folder / "key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return ssl.create_default_context(cadata=pem.decode())


def test_an_address_given_as_such_is_not_looked_up() -> None:
    async def called(address: Address) -> Address:
        return address

    async def scenario() -> None:
        egress = Egress(AllowedHosts(), answers())
        to = egress.check("https://8.8.8.8/")
        assert await egress.call(to, called) == ipaddress.ip_address("8.8.8.8")

    asyncio.run(scenario())
