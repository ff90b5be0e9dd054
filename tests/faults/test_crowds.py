"""F30, F31, F46, F51 to F54: many at once, the same thing twice, and a loop that stands still."""

import asyncio
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import msgspec
from websockets.exceptions import ConnectionClosed

from tests.faults.devices import Puppet, device, eventually
from tests.faults.served import served
from tests.faults.spoilt import SlowDatabase
from tests.harness.proxy import proxying
from tests.harness.stored import stored_streams
from tests.invariants import History, LoggedEvent, check
from tidings.domain.events import thread_stream
from tidings.protocol import frames
from tidings.protocol.client import Answered
from tidings.protocol.connection import Pace
from tidings.storage.warm.port import Database

HERD = 90


def test_f30_a_loop_that_stood_still_closes_nobody_who_answers(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path, pace=Pace(ping=0.3, pong=0.3, ack_stall=0.5)) as server:
            ana, token = await server.user("ana")
            async with AsyncExitStack() as stack:
                clients = [
                    await stack.enter_async_context(device(server.url, ana, token, f"d{n}"))
                    for n in range(10)
                ]
                receipt = await clients[0].ask("tell 60 0.02", "m1")
                for client in clients[1:]:
                    await client.session.follow(thread_stream(receipt.thread_id))
                for _ in range(3):
                    await clients[0].more()
                    time.sleep(0.8)  # noqa: ASYNC251 - the sabotage: nobody runs meanwhile
                for client in clients:
                    await client.until_end(receipt)
            log, seen = stored_streams(tmp_path), [c.history for c in clients]
            check(log, seen, at_head=True, ended=True, proven=True)

    asyncio.run(scenario())


def test_f31_a_herd_that_comes_back_shares_what_is_read_of_the_log(tmp_path: Path) -> None:
    async def scenario() -> None:
        databases: list[SlowDatabase] = []

        def counting(inner: Database) -> SlowDatabase:
            databases.append(SlowDatabase(inner))
            return databases[0]

        async with served(tmp_path, wrap=counting) as server, proxying(server.port) as proxy:
            ana, token = await server.user("ana")
            user = await server.context(token)
            receipt = await server.world.ask("tell 300 0", user, id="m1")
            await server.world.events_until_end(receipt, user)
            stream = thread_stream(receipt.thread_id)
            herd = [Puppet(proxy.url, ana, token, f"d{n}", (stream,)) for n in range(HERD)]
            head = (await server.world.reads.events(user, stream, "0", 1))["head"]

            async def come(puppet: Puppet) -> None:
                while puppet.last(stream) < head:
                    with suppress(ConnectionClosed):  # a busy server may send it away
                        async with puppet.connected():
                            await puppet.until(lambda: puppet.last(stream) >= head)

            async with asyncio.TaskGroup() as tasks:
                for puppet in herd:
                    tasks.create_task(come(puppet))
            assert not server.world.feed._tails
            before = databases[0].reads
            await come(Puppet(server.url, ana, token, "alone", (stream,)))
            alone = databases[0].reads - before
            assert before < alone * len(herd) * 0.8  # pages of the log were read together
            check(stored_streams(tmp_path), [p.history for p in herd], at_head=True, ended=True)

    asyncio.run(scenario())


def test_f46_storms_of_subscriptions_and_departures_leave_nothing_behind(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as server:
            ana, token = await server.user("ana")
            user = await server.context(token)
            receipts = [await server.world.ask("tell 40 0.01", user, id=f"m{n}") for n in range(3)]
            streams = [thread_stream(receipt.thread_id) for receipt in receipts]

            async def storm(number: int) -> History:
                puppet = Puppet(server.url, ana, token, f"d{number}")
                async with puppet.connected():
                    await puppet.greeted()
                    with suppress(ConnectionClosed):  # a busy server may send it away
                        await flutter(puppet, number)
                    assert puppet.socket is not None
                    if number % 2:
                        puppet.socket.transport.abort()
                return puppet.history

            async def flutter(puppet: Puppet, number: int) -> None:
                for turn in range(30):
                    stream = streams[(turn + number) % 3]
                    await puppet.send(puppet.core.follow(stream))
                    puppet.history.began(stream)
                    if turn % 2:
                        leaving = frames.Unsubscribe(stream=stream)
                        await puppet.send(msgspec.json.encode(leaving))

            async with asyncio.TaskGroup() as tasks:
                storms = [tasks.create_task(storm(n)) for n in range(12)]
            await eventually(lambda: len(server.presence) == 0)
            assert not server.world.feed._tails
            assert not server.world.feed._reading
            for receipt in receipts:
                await server.world.events_until_end(receipt, user)
            check(stored_streams(tmp_path), [s.result() for s in storms], ended=True, proven=True)

    asyncio.run(scenario())


def test_f51_a_command_whose_answer_was_lost_is_answered_again_and_done_once(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as server, proxying(server.port) as proxy:
            ana, token = await server.user("ana")
            async with device(proxy.url, ana, token, "d1") as client:
                await client.until_end(await client.ask("tell 1 0", "m0"))
                proxy.down.block()
                asking = asyncio.ensure_future(client.ask("tell 3 0", "m1"))
                log = stored_streams
                await eventually(lambda: runs_of(log(tmp_path).events) == 2)
                proxy.cut()
                proxy.calm()
                receipt = await asking
                assert receipt.duplicate
                await client.until_end(receipt)
            assert runs_of(stored_streams(tmp_path).events) == 2
            check(stored_streams(tmp_path), [client.history], at_head=True, ended=True, proven=True)

    asyncio.run(scenario())


def runs_of(events: list[LoggedEvent]) -> int:
    told = [msgspec.json.decode(event.frame) for event in events]
    return len({e["run_id"] for e in told if e["type"] == "message_received"})


def test_f52_one_command_sent_by_many_at_once_is_done_once(tmp_path: Path) -> None:
    """Two servers on one store, and several sockets of each."""

    async def scenario() -> None:
        async with served(tmp_path) as one, served(tmp_path) as two:
            ana, token = await one.user("ana")

            async def send(url: str, name: str) -> Answered:
                puppet = Puppet(url, ana, token, name)
                async with puppet.connected():
                    await puppet.take()
                    said = {"type": "chat", "id": "same", "payload": {"text": "tell 2 0"}}
                    await puppet.send(msgspec.json.encode(said))
                    await puppet.until(lambda: any(isinstance(h, Answered) for h in puppet.heard))
                    return next(h for h in puppet.heard if isinstance(h, Answered))

            async with asyncio.TaskGroup() as tasks:
                sent = [
                    tasks.create_task(send(server.url, f"d{n}"))
                    for n, server in enumerate([one, two] * 4)
                ]
            receipts = [task.result().receipt for task in sent]
            assert len({r.run_id for r in receipts if r}) == 1
            assert sum(r.duplicate for r in receipts if r) == len(sent) - 1
            assert runs_of(stored_streams(tmp_path).events) == 1
            check(stored_streams(tmp_path), [])

    asyncio.run(scenario())


def test_f53_f54_many_runs_and_many_idle_connections_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as server, AsyncExitStack() as stack:
            ana, token = await server.user("ana")
            busy = await stack.enter_async_context(device(server.url, ana, token, "busy"))
            first = await busy.ask("tell 20 0.05", "m0")
            idle = [
                await stack.enter_async_context(device(server.url, ana, token, f"idle{n}"))
                for n in range(60)
            ]
            for client in idle:
                await client.session.follow(thread_stream(first.thread_id))
            receipts = [await busy.ask("tell 60 0.01", f"m{n}") for n in range(1, 20)]
            await busy.until_end(first, *receipts)
            for client in idle:
                await client.until_end(first)
            seen = [busy.history, *(client.history for client in idle)]
            check(stored_streams(tmp_path), seen, at_head=True, ended=True, proven=True)

    asyncio.run(scenario())
