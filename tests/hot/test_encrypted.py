"""The hot tier over TLS: believed only with the right certificate, and said to be so if not."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.devices import eventually
from tests.harness.proxy import proxying
from tests.harness.tls import Authority
from tests.harness.valkey import ValkeyServer
from tests.hot.tiers import Called, on_server
from tidings.domain.tiers import TierState

SECRET = "not-for-the-log"
UNTRUSTED = "its certificate is not trusted here, or is another address's"

pytestmark = pytest.mark.usefixtures("patient")


@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
def test_hints_go_over_an_encrypted_line(tmp_path: Path, valkey: ValkeyServer, scheme: str) -> None:
    authority = Authority(tmp_path / "ours")
    ours = authority.sign("127.0.0.1")

    async def scenario() -> None:
        async with proxying(valkey.port, encrypted=ours.context(authority)) as front:
            url = (
                f"{scheme}://127.0.0.1:{front.port}/0?ssl_ca_certs={authority.root}"
                f"&ssl_certfile={ours.certificate}&ssl_keyfile={ours.key}"
            )
            async with on_server(url) as one, on_server(url) as two:
                heard: list[Called] = []
                two.hints.hear(Called, heard.append)
                await eventually(lambda: bool(valkey.control.pubsub_channels()))
                one.hints.publish(Called(1))
                await eventually(lambda: heard == [Called(1)])
                assert (await one.health()).state is TierState.OK

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("host", "signed_by", "scheme", "told"),
    [
        ("127.0.0.1", "theirs", "rediss", UNTRUSTED),
        ("elsewhere.example", "ours", "rediss", UNTRUSTED),
        ("127.0.0.1", "nobody", "rediss", "no answer"),
        ("127.0.0.1", "ours", "redis", "it cannot be reached"),
    ],
)
def test_a_server_that_is_not_the_one_is_told_and_gets_no_password(
    tmp_path: Path, valkey: ValkeyServer, host: str, signed_by: str, scheme: str, told: str
) -> None:
    authorities = {name: Authority(tmp_path / name) for name in ("ours", "theirs")}
    trusted = authorities["ours"].root

    async def scenario() -> None:
        context = None
        if signed_by in authorities:
            context = authorities[signed_by].sign(host).context()
        async with proxying(valkey.port, encrypted=context) as front:
            url = f"{scheme}://me:{SECRET}@127.0.0.1:{front.port}/0"
            if scheme == "rediss":
                url += f"?ssl_ca_certs={trusted}"
            async with on_server(url, ready=False) as tier:
                assert await tier.once.first("a ticket", 30)  # by itself
                health = await tier.health()
                assert (health.state, health.detail.startswith(told)) == (TierState.DOWN, True)
                await eventually(lambda: tier.hints.fault.startswith(told))
                assert SECRET not in repr(health)
                assert str(front.port) not in repr(health)
                assert context is None or not front.up.carried

    asyncio.run(scenario())
