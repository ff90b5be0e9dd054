"""Temporal over TLS, with a key or a certificate; a server that is not the one is told nothing."""

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.proxy import Direction, proxying
from tests.harness.temporal import TemporalServer
from tests.harness.tls import Authority
from tests.scheduling.test_temporal import Taker, brought, errand, scheduler_of
from tidings.domain.errors import InvalidInput, Unavailable
from tidings.domain.tiers import TierState
from tidings.scheduling.frontend import Frontend
from tidings.settings import load

KEY = "0" * 64
KEY_ON_THE_WIRE = bytes(len(KEY) * 5 // 8 - 2)
"""HTTP/2 writes a header's `0` as five bits that are zero; other headers do not come to so many."""
UNTRUSTED = "Temporal's certificate is not trusted here, or is another address's."


@dataclass(slots=True)
class Recording(Direction):
    """A way that keeps what has passed."""

    seen: bytes = b""

    def take(self, data: bytes) -> list[bytes]:
        self.seen += data
        return Direction.take(self, data)


@pytest.mark.parametrize("known_by", ["nothing", "key", "certificate"])
def test_runs_are_brought_over_an_encrypted_line(
    tmp_path: Path, temporal: TemporalServer, known_by: str
) -> None:
    authority = Authority(tmp_path / "ours")
    ours = authority.sign("127.0.0.1")
    clients = authority if known_by == "certificate" else None

    async def scenario() -> None:
        context = ours.context(clients, alpn="h2")
        async with proxying(temporal.port, encrypted=context) as front:
            front.up = way = Recording()
            frontend = Frontend(
                f"tls://127.0.0.1:{front.port}",
                "default",
                api_key=KEY if known_by == "key" else "",
                ca_file=str(authority.root),
                cert_file=str(ours.certificate) if clients else "",
                cert_key_file=str(ours.key) if clients else "",
            )
            scheduler, taker = scheduler_of(frontend), Taker()

            async def done() -> None:
                await scheduler.send(errand("r1"))
                await taker.done.wait()

            await brought(scheduler, taker.take, done)
            assert (taker.taken, (await scheduler.health()).state) == (["r1"], TierState.OK)
            assert (KEY_ON_THE_WIRE in way.seen) == (known_by == "key")
            assert KEY not in repr(frontend)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("host", "signed_by", "told"),
    [
        ("127.0.0.1", "theirs", UNTRUSTED),
        ("elsewhere.example", "ours", UNTRUSTED),
        ("127.0.0.1", "nobody", "Temporal does not encrypt there: the address says tls://."),
    ],
)
def test_a_server_that_is_not_the_one_is_told_and_gets_no_key(
    tmp_path: Path, temporal: TemporalServer, host: str, signed_by: str, told: str
) -> None:
    authorities = {name: Authority(tmp_path / name) for name in ("ours", "theirs")}
    context: ssl.SSLContext | None = None
    if signed_by in authorities:
        context = authorities[signed_by].sign(host).context(alpn="h2")

    async def scenario() -> None:
        async with proxying(temporal.port, encrypted=context) as front:
            front.up = way = Recording()
            root = str(authorities["ours"].root)
            frontend = Frontend(f"tls://127.0.0.1:{front.port}", "default", KEY, root)
            scheduler = scheduler_of(frontend)
            with pytest.raises(Unavailable) as refused:
                await scheduler.send(errand("r1"))
            assert refused.value.message == told
            health = await scheduler.health()
            assert (health.state, health.detail) == (TierState.DEGRADED, told)
            assert KEY_ON_THE_WIRE not in way.seen

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("address", "more", "told"),
    [
        ("host:7233", {"api_key": KEY}, "tls://"),
        ("host:7233", {"ca_file": "{file}"}, "tls://"),
        ("tls://host:7233", {"cert_file": "{file}"}, "go together"),
        ("tls://host:7233", {"ca_file": "/no/such/file"}, "/no/such/file"),
    ],
)
def test_what_would_be_said_in_the_open_or_cannot_be_is_a_bad_setting(
    tmp_path: Path, address: str, more: dict[str, str], told: str
) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(InvalidInput, match=told) as refused:
        Frontend(address, "default", **{k: v.format(file=file) for k, v in more.items()})
    assert refused.value.code == "bad_setting"
    assert KEY not in repr(refused.value)


def test_the_key_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    variable = {"TIDINGS_TEMPORAL_API_KEY_FILE": str(tmp_path / "key")}
    assert load({"data_dir": tmp_path}, variable).temporal_api_key == KEY
