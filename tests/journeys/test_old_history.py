"""History that is joined and trimmed while clients read it, over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import connect

from tests.harness.server import Client, User
from tests.stores import store_in
from tidings.client.http import Api
from tidings.domain.context import SERVER, UserContext
from tidings.domain.events import Draft, EventType, thread_stream
from tidings.events import log
from tidings.events.compaction import compact
from tidings.events.retention import trim
from tidings.storage.warm.port import Store, Transaction
from tidings.system import SystemClock, UlidSource

LONG_AGO = 1_000_000.0
WINDOW = 16
IDS = UlidSource(SystemClock())
Event = dict[str, Any]


@asynccontextmanager
async def store_of(user: User) -> AsyncIterator[Store]:
    """Open the server's store beside it, to do what its upkeep does, at a moment of our choice."""
    database = store_in(user.server.data_dir)
    try:
        yield database
    finally:
        await database.close()


async def old_run(
    database: Store, user: User, told: Callable[[int], tuple[EventType, dict[str, Any]]]
) -> str:
    """Record a thread with one run that told 40 things long ago; return the stream."""
    run_id, thread_id = IDS.new("r"), IDS.new("t")
    stream = thread_stream(thread_id)
    story = [
        (EventType.MESSAGE_RECEIVED, {"text": "then"}),
        *(told(number) for number in range(40)),
        (EventType.AGENT_COMPLETED, {"answer": "so", "status": "completed"}),
    ]
    drafts = [Draft(IDS.new("e"), t, p, run_id=run_id, thread_id=thread_id) for t, p in story]

    async def work(tx: Transaction) -> None:
        ((user_id,),) = await tx.execute("select user_id from users where name = ?", user.name)
        context = UserContext("default", user_id, "s")
        await tx.execute(
            "insert into threads (thread_id, user_id, title, created_at) values (?, ?, 'Old', ?)",
            thread_id,
            user_id,
            LONG_AGO,
        )
        await log.open_stream(tx, context, stream)
        await log.append(tx, context, stream, drafts, LONG_AGO)
        await tx.execute(
            "insert into runs (run_id, user_id, tenant_id, session_id, thread_id, agent, request,"
            " state, created_at, deadline_at, ended_at, exported_at)"
            " values (?, ?, 'default', 's', ?, 'a', '{}', 'ended', ?, ?, ?, ?)",
            run_id, user_id, thread_id, LONG_AGO, LONG_AGO, LONG_AGO, LONG_AGO,
        )  # fmt: skip

    await database.write(SERVER, work)
    return stream


@asynccontextmanager
async def reading(user: User, stream: str, cursor: str) -> AsyncIterator[tuple[Client, Any]]:
    """Say hello with a small window; yield the client and how its stream was answered."""
    hello = {
        "type": "hello",
        "token": user.token,
        "device": IDS.new("d"),
        "window": {"events": WINDOW, "bytes": 262_144},
        "subscribe": [{"stream": stream, "cursor": cursor}],
    }
    async with connect(user.server.url.replace("http", "ws") + "/ws", proxy=None) as socket:
        client = Client(socket)
        await client.send(hello)
        yield client, json.loads(await socket.recv())["streams"][0]


async def frames(client: Client) -> list[Event]:
    async with asyncio.timeout(60):
        message = json.loads(await client.socket.recv())
    return message if isinstance(message, list) else [message]


def cursor_of(event: Event) -> str:
    return f"{event['epoch']}.{event['offset']}.{event['event_id'][-8:]}"


def test_f44_a_client_in_the_range_that_is_trimmed_is_reset_to_a_whole_snapshot(user: User) -> None:
    async def scenario() -> None:
        async with store_of(user) as database:
            stream = await old_run(database, user, lambda n: (EventType.NOTICE, {"n": n}))
            async with reading(user, stream, "0") as (client, status):
                assert status["ok"]
                events = await frames(client)
                assert [e["offset"] for e in events] == list(range(1, WINDOW + 1))
                await trim(database, LONG_AGO + 1)
                await client.send({"type": "ack", "positions": {stream: WINDOW}})
                [reset] = await frames(client)
            assert (reset["type"], reset["why"]) == ("reset", "retention")
            await _goes_on_from_the_snapshot(user, stream, reset["snapshot"])
            async with reading(user, stream, cursor_of(events[-1])) as (_, status):
                assert status["code"] == "cursor_trimmed"
                await _goes_on_from_the_snapshot(user, stream, status["snapshot"])

    asyncio.run(scenario())


async def _goes_on_from_the_snapshot(user: User, stream: str, path: str) -> None:
    answer = await Api(user.server.url, user.token)._call("GET", path)
    snapshot = answer.json()
    said = [message["type"] for message in snapshot["messages"]]
    assert said == ["message_received", "agent_completed"]
    async with reading(user, stream, snapshot["cursor"]) as (_, status):
        assert (status["ok"], status["from"], status["head"]) == (True, 43, 42)


def test_f45_a_client_in_the_middle_of_an_answer_that_was_joined_gets_the_same_text(
    user: User,
) -> None:
    """Cursors of pieces that have no frame any more, over the socket: the rest, to the byte."""
    texts = [f"{number} 👩‍👧 " for number in range(40)]

    def piece(number: int) -> tuple[EventType, dict[str, Any]]:
        return EventType.ANSWER_DELTA, {"message_id": "m", "text": texts[number]}

    async def scenario() -> None:
        async with store_of(user) as database:
            stream = await old_run(database, user, piece)
            cursors = await _cursors(database, stream)
            await compact(database, LONG_AGO + 1, LONG_AGO + 1)
            rows = await database.read(
                SERVER, lambda tx: tx.execute("select stream, joined from events where joined > 0")
            )
            assert (stream, 39) in rows
            for applied in (1, 2, 3, 17, 40, 41, 42):
                async with reading(user, stream, cursors[applied - 1]) as (client, status):
                    assert (status["ok"], status["from"]) == (True, applied + 1)
                    events: list[Event] = []
                    while not events or events[-1]["type"] != "live":
                        events += await frames(client)
                deltas = [e for e in events if e["type"] == "answer_delta"]
                assert "".join(e["payload"]["text"] for e in deltas) == "".join(
                    texts[applied - 1 :]
                )
                assert all(e.get("first_offset", 41) == max(2, applied + 1) for e in deltas)

    asyncio.run(scenario())


async def _cursors(database: Store, stream: str) -> list[str]:
    rows = await database.read(
        SERVER,
        lambda tx: tx.execute(
            'select s.epoch, e."offset", e.event_id from events e, store s'
            ' where e.stream = ? order by e."offset"',
            stream,
        ),
    )
    return [f"{epoch}.{offset}.{event_id[-8:]}" for epoch, offset, event_id in rows]
