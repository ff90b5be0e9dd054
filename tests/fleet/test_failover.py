"""F22, F23, F24: PostgreSQL restarts, or another copy of the data takes its place."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.faults.devices import Device, Puppet, device
from tests.fleet.failover import Failover
from tests.fleet.nodes import Fleet, fleet
from tests.fleet.test_nodes import start
from tests.harness.postgres import PostgresServer
from tests.harness.stored import stored_streams
from tests.invariants import LoggedStreams, check
from tests.stores import rows_of
from tidings.domain.commands import Receipt, StartAgent, StartPayload
from tidings.domain.errors import TidingsError
from tidings.domain.events import thread_stream
from tidings.protocol.client import Anew
from tidings.storage.warm.port import Row

WAIT_SECONDS = 60.0


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A PostgreSQL of the test's own, to be lost."""
    server = PostgresServer()
    try:
        yield server
    finally:
        server.close()


def on(
    server: PostgresServer, folder: Path, scenario: Callable[[Fleet], Coroutine[Any, Any, None]]
) -> None:
    with fleet(folder, {}, gateways=1, workers=1, url=server.database()) as nodes:
        asyncio.run(scenario(nodes))


async def insisting(client: Device, count: int, id: str, thread: str | None = None) -> Receipt:
    """Send a command again under its id until it is taken."""
    payload = StartPayload(f"pay {count}", "payer", thread)
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            try:
                return await client.session.send(StartAgent(id, payload))
            except TidingsError:  # as the server has said it
                await asyncio.sleep(0.2)


def head_of(streams: LoggedStreams, stream: str) -> int:
    events = [msgspec.json.decode(event.frame) for event in streams.events]
    return max(int(event["offset"]) for event in events if event["stream"] == stream)


async def eventually_counted(url: str, lost: int) -> None:
    """Wait until every node has added what it knows: each has its own connections to lose."""
    async with asyncio.timeout(WAIT_SECONDS):
        while epochs(url)[-1] != ("moved", lost):  # noqa: ASYNC110 - of other processes
            await asyncio.sleep(0.1)


def epochs(url: str) -> list[Row]:
    return rows_of(url, "select why, lost_events from epochs order by began_at")


def test_f22_a_restart_of_postgresql_costs_a_wait_and_nothing_else(
    tmp_path: Path, server: PostgresServer
) -> None:
    async def scenario(nodes: Fleet) -> None:
        ana, token = await nodes.user("ana")
        async with device(nodes.gateways[0].url, ana, token, "d1") as client:
            receipt = await start(client, 30, "m1")
            await client.until(lambda: client.count >= 10)
            await asyncio.to_thread(server.stop)
            async with asyncio.TaskGroup() as tasks:
                meanwhile = tasks.create_task(insisting(client, 1, "m2"))
                await asyncio.to_thread(server.start)
                second = await meanwhile
            await client.until_end(receipt, second)
            check(nodes.stored(), [client.history], at_head=True, ended=True, proven=True)
        nodes.check_payments()
        assert epochs(nodes.database_url) == [("created", 0)]

    on(server, tmp_path, scenario)


def test_f23_after_a_failover_without_loss_clients_go_on_without_a_reset(
    tmp_path: Path, server: PostgresServer
) -> None:
    async def scenario(nodes: Fleet) -> None:
        ana, token = await nodes.user("ana")
        async with device(nodes.gateways[0].url, ana, token, "d1") as client:
            first = await start(client, 3, "m1")
            await client.until_end(first)
            await asyncio.to_thread(Failover(server).to_a_copy_that_has_everything)
            second = await insisting(client, 3, "m2")
            await client.until_end(second)
            check(nodes.stored(), [client.history], at_head=True, ended=True, proven=True)
        nodes.check_payments()
        assert epochs(nodes.database_url) == [("created", 0), ("moved", 0)]

    on(server, tmp_path, scenario)


def test_f24_after_a_failover_with_loss_who_is_ahead_is_told_and_the_loss_is_counted(
    tmp_path: Path, server: PostgresServer
) -> None:
    async def scenario(nodes: Fleet) -> None:
        ana, token = await nodes.user("ana")
        failover, gateway = Failover(server), nodes.gateways[0].url
        async with device(gateway, ana, token, "d1") as client:
            first = await start(client, 1, "m1")
            await client.until_end(first)
        await asyncio.to_thread(failover.copy)
        async with device(gateway, ana, token, "d2") as client:
            second = await insisting(client, 1, "m2", first.thread_id)
            await client.until_end(second)
        stream = thread_stream(first.thread_id)
        before = stored_streams(nodes.database_url)
        puppet = Puppet(gateway, ana, token, "d3", (stream,))
        async with puppet.connected():
            await puppet.until(lambda: puppet.last(stream) >= head_of(before, stream))
            await asyncio.to_thread(failover.to_the_copy)
            await puppet.until(lambda: isinstance(puppet.heard[-1], Anew))
        assert isinstance(puppet.heard[-1], Anew)
        assert puppet.heard[-1].why == "diverged"
        after = stored_streams(nodes.database_url)
        lost = frozenset(e.frame for e in before.events) - {e.frame for e in after.events}
        assert lost
        check(nodes.stored(lost), [puppet.history])
        await eventually_counted(nodes.database_url, len(lost))

    on(server, tmp_path, scenario)
