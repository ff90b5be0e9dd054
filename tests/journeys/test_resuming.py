"""Resuming from cursors of every kind, over real sockets: each stream has its own answer."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.harness.server import Client, ServerProcess, User, add_users

Event = dict[str, Any]


@pytest.fixture(scope="module")
def events(user: User) -> list[Event]:
    """Return the events of a finished run."""

    async def scenario() -> list[Event]:
        async with user.connected() as client:
            accepted = await client.ask("hello", "m1")
            return await client.until_end(accepted["run_id"])

    return asyncio.run(scenario())


@asynccontextmanager
async def saying_hello(
    user: User, *subscribe: tuple[str, str], device: str = "d1"
) -> AsyncIterator[Client]:
    streams = [{"stream": stream, "cursor": cursor} for stream, cursor in subscribe]
    hello = {"type": "hello", "token": user.token, "device": device, "subscribe": streams}
    async with connect(user.server.url.replace("http", "ws") + "/ws", proxy=None) as socket:
        client = Client(socket)
        await client.send(hello)
        yield client


def cursor_of(event: Event) -> str:
    return f"{event['epoch']}.{event['offset']}.{event['event_id'][-8:]}"


def bad_cursors(events: list[Event], foreign: Event) -> dict[str, tuple[str, str]]:
    """Return cursors that are not ours, each with the code of its answer."""
    good, last = events[2], events[-1]
    epoch, offset, tail = cursor_of(good).split(".")
    ahead = last["offset"] + 1
    return {
        "garbage": ("garbage", "cursor_invalid"),
        "empty": ("", "cursor_invalid"),
        "negative": ("-1", "cursor_invalid"),
        "negative in a cursor": (f"{epoch}.-1.{tail}", "cursor_invalid"),
        "a leading zero": (f"{epoch}.0{offset}.{tail}", "cursor_invalid"),
        "beyond 63 bits": (f"{epoch}.{2**63 + 1}.{tail}", "cursor_invalid"),
        "digits of another script": ("١٢", "cursor_invalid"),
        "SQL": (f"{epoch}.1.' or 1=1", "cursor_invalid"),
        "too many parts": (f"{epoch}.{offset}.{tail}.{tail}", "cursor_invalid"),
        "2 KB": ("1" * 2_000, "cursor_invalid"),
        "ahead of the head": (str(ahead), "cursor_diverged"),
        "ahead, in a cursor": (f"{epoch}.{ahead}.{tail}", "cursor_diverged"),
        "a forged tail": (f"{epoch}.{offset}.AAAAAAAA", "cursor_diverged"),
        "another event's tail": (f"{epoch}.{offset}.{last['event_id'][-8:]}", "cursor_diverged"),
        "another stream's": (cursor_of(foreign), "cursor_diverged"),
    }


def test_every_bad_cursor_has_its_answer_and_the_good_stream_goes_on(
    user: User, events: list[Event]
) -> None:
    """One hello per cursor, with a good stream beside the bad one."""

    async def scenario() -> None:
        async with user.connected() as client:
            accepted = await client.ask("another", "m2")
            others = await client.until_end(accepted["run_id"])
        bad_stream, good_stream = events[0]["stream"], others[0]["stream"]
        for what, (cursor, code) in bad_cursors(events, others[2]).items():
            good = (good_stream, cursor_of(others[-3]))
            async with saying_hello(user, (bad_stream, cursor), good) as client:
                bad, fine = (await client.next())["streams"]
                assert (bad["ok"], bad["code"]) == (False, code), what
                assert ("snapshot" in bad) == (code == "cursor_diverged")
                assert (fine["ok"], fine["from"]) == (True, others[-2]["offset"])
                assert await delivered(client, 2) == others[-2:], what
                await client.send({"type": "subscribe", "stream": bad_stream, "cursor": "0"})
                assert await delivered(client, len(events), bad_stream) == events, what

    asyncio.run(scenario())


def test_a_bad_cursor_on_a_live_connection_is_answered_and_no_more(
    user: User, events: list[Event]
) -> None:
    async def scenario() -> None:
        stream = events[0]["stream"]
        for start in (0, 8):
            async with user.connected() as client:
                chosen = list(bad_cursors(events, events[3] | {"epoch": "zzzzzz"}).values())
                for cursor, code in chosen[start : start + 8]:
                    if code == "cursor_diverged" and cursor.startswith("zzzzzz"):
                        continue
                    await client.send({"type": "subscribe", "stream": stream, "cursor": cursor})
                    answer = await client.next()
                    if code == "cursor_diverged":
                        assert answer == diverged(stream)
                    else:
                        assert (answer["type"], answer["ref"]) == ("error", stream)
                        assert answer["code"] == code
                await client.send({"type": "subscribe", "stream": stream, "cursor": "0"})
                assert await delivered(client, len(events), stream) == events

    asyncio.run(scenario())


def diverged(stream: str) -> dict[str, str]:
    snapshot = f"/api/threads/{stream.removeprefix('thread:')}/snapshot"
    return {"type": "reset", "stream": stream, "why": "diverged", "snapshot": snapshot}


def test_a_foreign_stream_is_not_found_beside_ones_own(
    server: ServerProcess, user: User, events: list[Event]
) -> None:
    async def scenario() -> None:
        (eve,) = await add_users(server, "resuming-eve")
        async with eve.connected() as client:
            accepted = await client.ask("mine", "m1")
            mine = await client.until_end(accepted["run_id"])
        theirs = (events[0]["stream"], cursor_of(events[2]))
        async with saying_hello(eve, theirs, (mine[0]["stream"], "0")) as client:
            foreign, own = (await client.next())["streams"]
            assert foreign["code"] == "not_found"
            assert own["ok"]
            assert await delivered(client, len(mine)) == mine
            assert events[0]["event_id"].encode() not in client.bytes

    asyncio.run(scenario())


def test_a_good_cursor_gets_exactly_what_follows(user: User, events: list[Event]) -> None:
    async def scenario() -> None:
        stream = events[0]["stream"]
        for place in range(len(events)):
            async with saying_hello(user, (stream, cursor_of(events[place]))) as client:
                assert (await client.next())["streams"][0]["ok"]
                rest = events[place + 1 :]
                assert await delivered(client, len(rest)) == rest
                live = await client.until(lambda frame: frame["type"] == "live")
                assert live["offset"] == events[-1]["offset"]

    asyncio.run(scenario())


async def delivered(client: Client, count: int, stream: str | None = None) -> list[Event]:
    """Return the next events of a stream, of the first one that speaks if none is named."""
    found: list[Event] = []
    while len(found) < count:
        async with asyncio.timeout(60):
            message = json.loads(await client.socket.recv())
        for frame in message if isinstance(message, list) else [message]:
            client.bytes += json.dumps(frame).encode()
            if "event_id" in frame and stream in {None, frame["stream"]}:
                found.append(frame)
    return found
