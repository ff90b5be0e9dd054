"""Take-over and revocation over two servers: by a hint at once, by a look when hints are lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.faults.devices import Puppet, eventually
from tests.harness.valkey import ValkeyServer
from tests.hot.gateways import GatewayNode, gateway
from tidings.gateway import presence
from tidings.identity import elsewhere
from tidings.protocol.closing import Close
from tidings.resilience.rates import Allowance
from tidings.storage.hot import line

NEVER_SECONDS = 3_600.0


@asynccontextmanager
async def nodes(
    folder: Path, valkey: ValkeyServer, *, looking: bool
) -> AsyncIterator[tuple[GatewayNode, GatewayNode]]:
    """Have two servers; either they look by themselves and hear no hint, or only hints tell."""
    tick_seconds = 0.05 if looking else NEVER_SECONDS
    async with (
        gateway(folder, valkey, tick_seconds) as one,
        gateway(folder, valkey, tick_seconds) as two,
    ):
        if looking:
            for node in (one, two):
                node.tier._line.say = lambda *_: None  # type: ignore[method-assign]
        yield one, two


@pytest.fixture(params=["by a hint", "by a look"])
def looking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(presence, "DEVICE_CHECK_TICKS", 4)
    if request.param == "by a hint":  # a busy machine must not lose the only one
        monkeypatch.setattr(line, "OPERATION_SECONDS", 10.0)
    return bool(request.param == "by a look")


def test_f37_a_device_that_connects_at_another_server_takes_over(
    tmp_path: Path, valkey: ValkeyServer, *, looking: bool
) -> None:
    async def scenario() -> None:
        async with nodes(tmp_path, valkey, looking=looking) as (one, two):
            ana, token = await one.server.user("ana")
            _, bobs = await one.server.user("bob")
            older = Puppet(one.server.url, ana, token, "same")
            newer = Puppet(two.server.url, ana, token, "same")
            newest = Puppet(one.server.url, ana, token, "same")
            other = Puppet(one.server.url, ana, token, "other")
            stranger = Puppet(one.server.url, "", bobs, "same")
            async with other.connected(), stranger.connected(), older.connected():
                for puppet in (other, stranger, older):
                    await puppet.take()
                await settled(valkey, ana, one, servers=1)
                async with newer.connected():
                    await newer.take()
                    assert await older.closed() == 4409
                    await eventually(lambda: len(one.server.presence) == 2)
                    await settled(valkey, ana, two, servers=2)
                    async with newest.connected():
                        await newest.take()
                        assert await newer.closed() == 4409
                        assert (len(one.server.presence), len(two.server.presence)) == (3, 0)
            await eventually(lambda: not one.server.presence._claims)

    asyncio.run(scenario())


def test_f37_two_servers_that_greet_a_device_at_once_keep_one_of_its_connections(
    tmp_path: Path, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "DEVICE_CHECK_TICKS", 4)

    async def scenario() -> None:
        async with gateway(tmp_path, valkey) as one, gateway(tmp_path, valkey) as two:
            ana, token = await one.server.user("ana")
            for _ in range(5):
                devices = [Puppet(node.server.url, ana, token, "same") for node in (one, two)]
                async with asyncio.TaskGroup() as both:
                    over = [both.create_task(closing(puppet)) for puppet in devices]
                    await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
                    presences = (one.server.presence, two.server.presence)
                    await eventually(lambda: sum(map(len, presences)) == 1)  # noqa: B023
                    await asyncio.sleep(0.5)  # nobody fights back
                    assert sum(map(len, presences)) == 1
                    for left in [s for found in presences for s in found._listeners]:
                        left.leave(Close.NORMAL, "the test is over")
                assert sorted(task.result() for task in over) == [Close.NORMAL, Close.REPLACED]

    asyncio.run(scenario())


def test_t08_a_session_that_ends_at_one_server_ends_its_sockets_at_the_other(
    tmp_path: Path, valkey: ValkeyServer, *, looking: bool
) -> None:
    async def scenario() -> None:
        async with nodes(tmp_path, valkey, looking=looking) as (one, two):
            ana, token = await one.server.user("ana")
            other_login = await one.server.identity.issue_token("ana")
            leaving = Puppet(two.server.url, ana, token, "d1")
            staying = Puppet(two.server.url, ana, other_login, "d2")
            async with leaving.connected(), staying.connected():
                await leaving.take()
                await staying.take()
                await settled(valkey, ana, two, servers=1)
                await one.server.identity.logout(await one.server.context(token))
                assert await leaving.closed() == 4401
                assert len(two.server.presence) == 1
                await one.server.identity.disable_user("ana")
                assert await staying.closed() == 4401

    asyncio.run(scenario())


def test_a_user_who_connects_too_often_is_sent_away_wherever(
    tmp_path: Path, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elsewhere, "_CONNECTIONS", Allowance("connections", 3, 3_600.0))

    async def scenario() -> None:
        async with gateway(tmp_path, valkey) as one, gateway(tmp_path, valkey) as two:
            ana, token = await one.server.user("ana")
            bob, bobs = await one.server.user("bob")
            for node in (one, two, one):
                puppet = Puppet(node.server.url, ana, token, "d1")
                async with puppet.connected():
                    await puppet.take()
            assert await closing(Puppet(two.server.url, ana, token, "d1")) == Close.OVERLOADED
            puppet = Puppet(two.server.url, bob, bobs, "d1")
            async with puppet.connected():
                await puppet.take()

    asyncio.run(scenario())


async def closing(puppet: Puppet) -> int:
    """Connect and return the code of the close that comes."""
    async with puppet.connected():
        return await puppet.closed()


async def settled(valkey: ValkeyServer, user_id: str, node: GatewayNode, *, servers: int) -> None:
    """Wait until the places of a server's devices are known, and so many servers hear of a user."""
    here, channel = node.server.presence, node.tier.hints._channel_of_user(user_id)

    def is_so() -> bool:
        known = None not in here._claims.values() and len(here._claims) == len(here)
        return known and valkey.control.pubsub_numsub(channel)[0][1] == servers

    await eventually(is_so)
