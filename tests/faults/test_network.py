"""F1 to F10: what networks do to connections. Each ends with the invariants."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.faults.devices import Device, Puppet, device, eventually
from tests.faults.served import Served, served
from tests.harness.proxy import FaultProxy, proxying
from tests.harness.server import Client
from tests.harness.stored import stored_streams
from tests.invariants import History, check
from tidings.domain.events import thread_stream
from tidings.gateway.socket import Socket
from tidings.protocol.client import Apply
from tidings.protocol.connection import Pace
from tidings.protocol.frames import Window

QUICK = Pace(ping=0.3, pong=1.5, ack_stall=1.5, send=1.5)


@dataclass
class Line:
    """A server, a user of it, and a proxy before it."""

    server: Served
    proxy: FaultProxy
    ana: str
    token: str

    def puppet(self, name: str = "d1") -> Puppet:
        return Puppet(self.proxy.url, self.ana, self.token, name)

    @asynccontextmanager
    async def device(self, name: str = "d1") -> AsyncIterator[Device]:
        async with device(self.proxy.url, self.ana, self.token, name) as made:
            yield made

    def check(self, *histories: History, at_head: bool = True) -> None:
        log = stored_streams(self.server.folder)
        check(log, histories, ended=True, proven=True, at_head=at_head)


@asynccontextmanager
async def line(folder: Path, pace: Pace = QUICK) -> AsyncIterator[Line]:
    async with served(folder, pace=pace) as server, proxying(server.port) as proxy:
        ana, token = await server.user("ana")
        yield Line(server, proxy, ana, token)


def test_f01_resets_in_mid_event_lose_and_double_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with line(tmp_path) as to:
            async with to.device() as client:
                receipt = await client.ask("tell 150 0.005", "m1")
                for times, size in enumerate(range(700, 2_000, 130), start=1):
                    to.proxy.down.reset_after = size
                    await eventually(lambda: to.proxy.accepted > times)  # noqa: B023
                await client.until_end(receipt)
            to.check(client.history)

    asyncio.run(scenario())


def test_f02_a_server_that_cannot_be_heard_is_given_up_and_it_gives_up_the_client(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with line(tmp_path) as to, to.device() as client:
            receipt = await client.ask("tell 300 0.01", "m1")
            await client.more()
            to.proxy.down.block()
            before = to.proxy.accepted
            await eventually(lambda: to.proxy.accepted > before)
            to.proxy.calm()
            await client.until_end(receipt)
            await eventually(lambda: len(to.server.presence) == 1)
            to.check(client.history)

    asyncio.run(scenario())


def test_f03_lost_acknowledgements_stop_the_server_at_the_window(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with line(tmp_path, Pace(ack_stall=1.5)) as to:
            puppet = to.puppet()
            async with puppet.connected():
                await puppet.take()
                receipt = await to.server.world.ask(
                    "tell 700 0", await to.server.context(to.token), id="m1"
                )
                stream = thread_stream(receipt.thread_id)
                await puppet.send(puppet.core.follow(stream))
                await puppet.until(lambda: puppet.last(stream) > 10)
                to.proxy.up.block()
                await puppet.acknowledge()
                await eventually(lambda: len(to.server.presence) == 0)
                to.proxy.calm()
                assert await puppet.closed() == 4105
            assert puppet.last(stream) <= Window().events
            await read_on(puppet, stream, 700)
            to.check(puppet.history, at_head=False)

    asyncio.run(scenario())


@pytest.mark.parametrize(("piece", "jitter"), [(1, 0.0), (16 * 1024, 0.5)])
def test_f04_bytes_that_trickle_or_stumble_arrive_in_order(
    tmp_path: Path, piece: int, jitter: float
) -> None:
    async def scenario() -> None:
        async with line(tmp_path, Pace()) as to, to.device() as client:
            to.proxy.down.piece = to.proxy.up.piece = piece
            to.proxy.down.jitter = jitter
            receipt = await client.ask("tell 30 0.001", "m1")
            await client.until_end(receipt)
            to.check(client.history)

    asyncio.run(scenario())


def test_f05_a_slow_line_parks_its_own_pump_and_holds_up_nobody(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            line(tmp_path, Pace()) as to,
            device(to.server.url, to.ana, to.token, "quick") as quick,
        ):
            to.proxy.down.bytes_per_second, to.proxy.down.piece = 20_000.0, 200
            async with to.device("slow") as slow:
                receipt = await quick.ask("tell 1000 0 1000", "m1")
                await slow.session.follow(thread_stream(receipt.thread_id))
                await quick.until_end(receipt)
                assert slow.count < quick.count / 2
                for listener in to.server.presence._listeners:
                    assert isinstance(listener, Socket)
                    assert listener.connection.flow._events <= Window().events
                    assert listener.connection.flow._bytes < Window().bytes + 2_000
                to.proxy.calm()
                await slow.until_end(receipt)
            to.check(quick.history, slow.history)

    asyncio.run(scenario())


def test_f06_a_client_that_stops_reading_is_let_go(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with line(tmp_path) as to:
            url = to.proxy.url.replace("http", "ws") + "/ws"
            headers = {"Authorization": f"Bearer {to.token}"}
            async with connect(
                url, additional_headers=headers, proxy=None, close_timeout=1
            ) as socket:
                client = Client(socket)
                await client.next()
                accepted = await client.ask("tell 4000 0 2000", "m1", agent="teller")
                to.proxy.down.block()
                await eventually(lambda: len(to.server.presence) == 0)
                assert not to.server.world.feed._tails
                to.proxy.calm()
                assert await client.closed() in {4103, 1006}
            puppet = to.puppet()
            puppet.core.follow(f"thread:{accepted['thread_id']}")
            async with puppet.connected():
                await puppet.until(lambda: puppet.count > 100)
            to.check(puppet.history, at_head=False)

    asyncio.run(scenario())


def test_f06_a_client_that_stops_reading_within_a_wide_window_is_let_go_too(
    tmp_path: Path,
) -> None:
    """Here the heartbeat is stuck behind the events that nobody reads."""

    async def scenario() -> None:
        async with line(tmp_path) as to:
            user = await to.server.context(to.token)
            receipt = await to.server.world.ask("tell 4000 0 2000", user, id="m1")
            await to.server.world.events_until_end(receipt, user)
            puppet, stream = to.puppet(), thread_stream(receipt.thread_id)
            async with puppet.connected(Window(4096, 4 * 1024 * 1024)):
                await puppet.take()
                to.proxy.down.block()
                await puppet.send(puppet.core.follow(stream))
                await eventually(lambda: len(to.server.presence) == 0)
                assert not to.server.world.feed._tails
                to.proxy.calm()
                await puppet.closed()
            await read_on(puppet, stream, 3000)
            to.check(puppet.history, at_head=False)

    asyncio.run(scenario())


def test_f07_a_client_that_never_acknowledges_gets_one_window(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with line(tmp_path) as to:
            puppet = to.puppet()
            receipt = await to.server.world.ask(
                "tell 700 0", await to.server.context(to.token), id="m1"
            )
            puppet.core.follow(thread_stream(receipt.thread_id))
            async with puppet.connected():
                assert await puppet.closed() == 4105
            assert puppet.count <= Window().events
            await read_on(puppet, thread_stream(receipt.thread_id), 700)
            to.check(puppet.history, at_head=False)

    asyncio.run(scenario())


def test_f08_fifty_reconnects_at_once_all_resume(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with line(tmp_path, Pace()) as to:
            puppet = to.puppet()
            receipt = await to.server.world.ask(
                "tell 400 0.003", await to.server.context(to.token), id="m1"
            )
            stream = thread_stream(receipt.thread_id)
            puppet.core.follow(stream)
            for turn in range(50):
                async with puppet.connected():
                    assert not (await puppet.greeted()).refused
                    if turn % 3:
                        await puppet.take()
                    to.proxy.cut()
            async with puppet.connected():
                while not any(_is_end(h) for h in puppet.heard):
                    await puppet.take()
                    await puppet.acknowledge()
            to.check(puppet.history)

    asyncio.run(scenario())


def test_f09_f10_resuming_twice_or_before_the_first_event_brings_nothing_twice(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with line(tmp_path) as to:
            user, puppet = await to.server.context(to.token), to.puppet()
            thread = (await to.server.world.reads.create_thread(user, "empty"))["thread_id"]
            stream = thread_stream(thread)
            puppet.core.follow(stream)
            for _ in range(2):  # nothing was ever sent
                async with puppet.connected():
                    await puppet.take()
                    await puppet.take()
            assert puppet.count == 0
            receipt = await to.server.world.ask("tell 5 0", user, id="m1", thread=thread)
            await to.server.world.events_until_end(receipt, user)
            async with puppet.connected():
                await puppet.until(lambda: any(_is_end(h) for h in puppet.heard))
            seen = puppet.count
            for _ in range(2):  # nothing new
                async with puppet.connected():
                    await puppet.greeted()
                    (live,) = await puppet.take()
                    assert live == puppet.heard[-1]
            assert (puppet.count, puppet.core.duplicates) == (seen, 0)
            to.check(puppet.history)

    asyncio.run(scenario())


async def read_on(puppet: Puppet, stream: str, offset: int) -> None:
    """Take the stream up to there, over connections that a server in a hurry may close."""
    while puppet.last(stream) < offset:
        async with puppet.connected():
            with suppress(ConnectionClosed):
                while puppet.last(stream) < offset:
                    await puppet.take()
                    await puppet.acknowledge()


def _is_end(happening: object) -> bool:
    return isinstance(happening, Apply) and happening.event.type == "agent_completed"
