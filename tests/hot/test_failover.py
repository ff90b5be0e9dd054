"""Valkey fails over to a replica behind the same address: what was only there, and what was not."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.devices import Puppet, device
from tests.harness.proxy import proxying
from tests.harness.running import running
from tests.harness.stored import stored_streams
from tests.harness.valkey import TRY_SECONDS, ValkeyServer
from tests.hot.gateways import MANY_EVENTS, GatewayNode, found, gateway, tickets_go_on
from tests.hot.tiers import Called, on_server
from tests.invariants import check
from tidings.domain.tiers import TierState
from tidings.gateway import presence
from tidings.resilience.rates import Allowance

DOWN, OK = TierState.DOWN, TierState.OK
ONE_EACH = Allowance("test", 1, 3_600.0)


@pytest.fixture
def standby(valkey: ValkeyServer) -> Iterator[ValkeyServer]:
    """A replica of the Valkey, which has all of it."""
    valkey.control.config_set("repl-diskless-sync-delay", "0")
    with running(ValkeyServer) as server:
        server.control.replicaof("127.0.0.1", str(valkey.port))
        while server.control.info("replication")["master_link_status"] != "up":
            time.sleep(TRY_SECONDS)
        yield server


def test_a_promoted_replica_takes_over_and_nothing_is_forgotten(
    tmp_path: Path,
    valkey: ValkeyServer,
    standby: ValkeyServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it had been told is still counted; who signed out meanwhile is out."""
    monkeypatch.setattr(presence, "DEVICE_CHECK_TICKS", 4)

    async def scenario() -> None:
        async with gateway(tmp_path, valkey) as one, gateway(tmp_path, valkey) as two:
            ana, token = await one.server.user("ana")
            leavers = await one.server.identity.issue_token("ana")
            leaving = Puppet(two.server.url, ana, leavers, "d3")
            async with (
                device(one.server.url, ana, token, "d1") as first,
                device(two.server.url, ana, token, "d2") as second,
                leaving.connected(),
            ):
                await leaving.take()
                into = await first.ask(MANY_EVENTS, "m1")
                await second.session.follow(f"thread:{into.thread_id}")
                await second.more()
                assert await one.tier.once.first("a ticket", 3_600)
                assert await one.tier.rates.take(ONE_EACH, "an address") == 0
                valkey.control.set("behind", "all of it")  # one waits for one's own writes only
                assert valkey.control.wait(1, 20_000) == 1

                valkey.kill()
                await found((DOWN, DOWN), one, two)
                await one.server.identity.logout(await one.server.context(leavers))
                assert await leaving.closed() == 4401
                within = await second.ask("tell 20 0.01", "m2", into.thread_id)
                await tickets_go_on(one.server, two.server, token)
                for client in (first, second):
                    await client.until_end(into, within)

                lead_to(standby, one, two)
                await told("a replica", one)
                standby.control.replicaof("NO", "ONE")
                await found((OK, OK), one, two)
                assert not await two.tier.once.first("a ticket", 3_600)
                assert await two.tier.rates.take(ONE_EACH, "an address") > 0
                after = await first.ask("tell 20 0.01", "m3", into.thread_id)
                for client in (first, second):
                    await client.until_end(after)
        log = stored_streams(tmp_path)
        check(log, [first.history, second.history], at_head=True, ended=True, proven=True)

    asyncio.run(scenario())


def test_who_is_connected_to_a_server_that_was_made_a_replica_finds_the_new_primary(
    valkey: ValkeyServer, standby: ValkeyServer
) -> None:
    """Its connections stay, and it does not refuse what is published: nobody would be told."""

    async def scenario() -> None:
        async with (
            proxying(valkey.port) as proxy,
            on_server(f"redis://127.0.0.1:{proxy.port}") as speaker,
        ):
            assert (await speaker.health()).state is OK
            standby.control.replicaof("NO", "ONE")
            proxy.target = standby.port
            valkey.control.replicaof("127.0.0.1", str(standby.port))
            async with on_server(standby.url) as hearer:
                heard: list[Called] = []
                hearer.hints.hear(Called, heard.append)
                async with asyncio.timeout(60):
                    while not heard:
                        speaker.hints.publish(Called(1))
                        await asyncio.sleep(0.1)

    try:
        asyncio.run(scenario())
    finally:
        valkey.control.replicaof("NO", "ONE")


async def told(fault: str, node: GatewayNode) -> None:
    """Wait until a server says this of its tier."""
    async with asyncio.timeout(60):
        while fault not in (await node.tier.health()).detail:  # noqa: ASYNC110 - of two processes
            await asyncio.sleep(0.05)


def lead_to(valkey: ValkeyServer, *nodes: GatewayNode) -> None:
    """Have the address under which the nodes know their Valkey lead to another one."""
    for node in nodes:
        node.proxy.target = valkey.port
        node.proxy.cut()
