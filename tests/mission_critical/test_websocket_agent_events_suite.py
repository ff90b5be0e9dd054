"""The promise of the product, on a real server process over real sockets.

Runs by itself, too: `python tests/mission_critical/test_websocket_agent_events_suite.py`.
"""

import asyncio
import json
import random
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

if __name__ == "__main__":  # run alone: pytest imports this file anew, as a part of the tests
    raise SystemExit(pytest.main([__file__, "-v", *sys.argv[1:]]))

from websockets.asyncio.client import connect

from tests.harness.cli import tidings
from tests.harness.server import (
    Client,
    ServerProcess,
    User,
    add_users,
    check_story,
    serving,
)
from tidings.analysis.workload import generate, write_csv
from tidings.client.session import Session, always
from tidings.domain.commands import Chat, ChatPayload
from tidings.domain.errors import TidingsError
from tidings.domain.events import TERMINAL, thread_stream

QUESTION = "Where does our money go, and how do we cut it?"
KILL_AFTER_EVENTS = (1, 2, 5, 9, 14, 20)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with serving(tmp_path) as process:
        yield process


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "usage.csv"
    with path.open("w", newline="") as file:
        write_csv(generate(random.Random(3), 2_000), file)
    return path


def test_a_run_shows_all_it_does_live_and_in_order(server: ServerProcess, log: Path) -> None:
    async def scenario() -> None:
        (ana,) = await add_users(server, "ana")
        file_id = await ana.upload(log)
        async with ana.connected() as client:
            accepted = await client.ask(QUESTION, "m1", files=[file_id])
            events = await client.until_end(accepted["run_id"])
        check_story(events)
        assert [e["offset"] for e in events] == list(range(1, len(events) + 1))
        told = zip(client.heard, client.at, strict=True)
        heard = [at for frame, at in told if "event_id" in frame]
        ended = datetime.fromisoformat(events[-1]["timestamp"]).timestamp()
        assert heard[0] < ended  # it is live: nothing waits for the end
        agents = [e["agent"] for e in events if e["type"] == "subagent_started"]
        assert agents[0] == "triage"
        assert agents[-1] == "reporter"
        done = events[-1]["payload"]
        assert done["status"] == "completed"
        assert done["quality"]["score"] >= 0.7
        assert done["report_id"]

    asyncio.run(scenario())


@pytest.mark.parametrize("count", [5, 25])
def test_users_at_once_see_nothing_of_each_other(
    server: ServerProcess, log: Path, count: int
) -> None:
    async def one(user: User) -> tuple[str, str, bytes]:
        secret = f"{user.name}-secret"
        file_id = await user.upload(log)
        async with user.connected() as client:
            accepted = await client.ask(f"What did we spend? ({secret})", "m1", files=[file_id])
            check_story(await client.until_end(accepted["run_id"]))
            return secret, accepted["thread_id"], client.bytes

    async def scenario() -> None:
        users = await add_users(server, *(f"user{n:02d}" for n in range(count)))
        async with asyncio.TaskGroup() as tasks:
            seen = [tasks.create_task(one(user)) for user in users]
        for mine in seen:
            secret, thread_id, heard = mine.result()
            assert secret.encode() in heard
            assert thread_id.encode() in heard
            for other in seen:
                if other is not mine:
                    assert other.result()[0].encode() not in heard
                    assert other.result()[1].encode() not in heard

    asyncio.run(scenario())


def test_rapid_messages_in_one_thread_keep_their_order(server: ServerProcess) -> None:
    async def scenario() -> None:
        (ana,) = await add_users(server, "ana")
        async with ana.connected() as client:
            first = await client.ask("message 0", "m0")
            thread = first["thread_id"]
            for n in range(1, 8):
                payload = {"thread_id": thread, "text": f"message {n}"}
                await client.send({"type": "user_message", "id": f"m{n}", "payload": payload})
            last = await client.until(lambda f: f.get("ref") == "m7")
            await client.until_end(last["run_id"])
        events = [e for e in client.heard if "event_id" in e and e["thread_id"] == thread]
        assert [e["offset"] for e in events] == list(range(1, len(events) + 1))
        said = [e["payload"]["text"] for e in events if e["type"] == "message_received"]
        assert said == [f"message {n}" for n in range(8)]
        asked = {
            e["run_id"]: e["payload"]["text"]
            for e in events
            if "text" in e["payload"] and e["type"] == "message_received"
        }
        assert [asked[e["run_id"]] for e in events if e["type"] in TERMINAL] == said

    asyncio.run(scenario())


def test_a_client_that_leaves_in_mid_run_gets_the_rest_on_return(
    server: ServerProcess, log: Path
) -> None:
    async def scenario() -> None:
        (ana,) = await add_users(server, "ana")
        file_id = await ana.upload(log)
        async with ana.connected() as client:
            accepted = await client.ask(QUESTION, "m1", files=[file_id])
            await client.until(lambda f: f["type"] == "tool_executing")
        before = [e for e in client.heard if "event_id" in e]
        last = before[-1]
        cursor = f"{last['epoch']}.{last['offset']}.{last['event_id'][-8:]}"
        after = await resumed(ana, accepted, cursor)
        check_story(before + after)
        assert not {e["event_id"] for e in before} & {e["event_id"] for e in after}

    async def resumed(user: User, accepted: dict[str, Any], cursor: str) -> list[dict[str, Any]]:
        stream = thread_stream(accepted["thread_id"])
        hello = {
            "type": "hello",
            "token": user.token,
            "device": "d1",
            "subscribe": [{"stream": stream, "cursor": cursor}],
        }
        events: list[dict[str, Any]] = []
        async with connect(user.server.url.replace("http", "ws") + "/ws", proxy=None) as socket:
            await socket.send(json.dumps(hello))
            greeting = json.loads(await socket.recv())
            assert greeting["streams"][0]["ok"]
            while not events or events[-1]["type"] not in TERMINAL:
                message = json.loads(await socket.recv())
                frames = message if isinstance(message, list) else [message]
                events += [f for f in frames if "event_id" in f]
                if events:
                    position = {stream: events[-1]["offset"]}
                    await socket.send(json.dumps({"type": "ack", "positions": position}))
        return events

    asyncio.run(scenario())


@pytest.mark.parametrize("after", KILL_AFTER_EVENTS)
def test_a_killed_server_goes_on_where_it_was(server: ServerProcess, log: Path, after: int) -> None:
    """kill -9 when the client has applied so many events; the same client sees the run's end."""

    async def scenario() -> None:
        (ana,) = await add_users(server, "ana")
        file_id = await ana.upload(log)
        events: list[dict[str, Any]] = []
        async with Session(server.url, always(ana.token), "d1", random.Random(1)) as session:
            await session.send(Chat("m1", ChatPayload(QUESTION, files=(file_id,))))
            async for applied in session.events():
                events.append(json.loads(applied.raw))
                if len(events) == after:
                    server.kill()
                    server.start()
                if applied.event.type in TERMINAL:
                    break
        check_story(events)
        assert [e["offset"] for e in events] == list(range(1, len(events) + 1))

    asyncio.run(scenario())


def test_a_command_is_repeated_until_it_is_answered_and_carried_out_once(
    server: ServerProcess,
) -> None:
    async def scenario() -> None:
        (ana,) = await add_users(server, "ana")
        async with ana.connected() as client:
            first = await client.ask("hello", "same-id")
        server.kill()
        server.start()
        async with ana.connected() as client:
            again = await client.ask("hello", "same-id")
            assert (again["run_id"], again["duplicate"]) == (first["run_id"], True)
            other = await client.ask("something else", "same-id")
            assert other["code"] == "idempotency_conflict"

    asyncio.run(scenario())


HOSTILE: list[tuple[str, Any, str]] = [
    ("unknown type", {"type": "agent_execute", "id": "1"}, "unknown_type"),
    ("unknown type", {"type": "execute_agent", "id": "1"}, "unknown_type"),
    ("no type", {"id": "1"}, "unknown_type"),
    ("missing payload", {"type": "start_agent", "id": "1"}, "bad_message"),
    ("empty text", {"type": "chat", "id": "1", "payload": {"text": ""}}, "invalid_text"),
    ("NUL", {"type": "chat", "id": "1", "payload": {"text": "a\0b"}}, "invalid_text"),
    ("too long", {"type": "chat", "id": "1", "payload": {"text": "x" * 20_001}}, "invalid_text"),
    ("bad id", {"type": "chat", "id": "a b", "payload": {"text": "x"}}, "bad_message"),
    (
        "unknown agent",
        {"type": "start_agent", "id": "1", "payload": {"user_request": "x", "agent": "analyses"}},
        "unknown_agent",
    ),
    (
        "foreign thread",
        {"type": "user_message", "id": "1", "payload": {"thread_id": "t_0", "text": "x"}},
        "not_found",
    ),
    ("foreign run", {"type": "stop_agent", "id": "1", "payload": {"run_id": "r_0"}}, "not_found"),
    (
        "foreign file",
        {"type": "chat", "id": "1", "payload": {"text": "x", "files": ["../../etc/passwd"]}},
        "not_found",
    ),
    ("foreign stream", {"type": "subscribe", "stream": "user:u_0", "cursor": "0"}, "not_found"),
]
FATAL: list[tuple[str, str | bytes, int]] = [
    ("empty", "", 4400),
    ("not JSON", "hello", 4400),
    ("a scalar", "42", 4400),
    ("deep", "[" * 20_000, 4400),
    ("huge", "x" * 70_000, 1009),
    ("binary", b"\x00\x01", 1003),
]


def test_hostile_messages_get_typed_errors_and_the_server_is_unharmed(
    server: ServerProcess,
) -> None:
    async def scenario() -> None:
        ana, bob = await add_users(server, "ana", "bob")
        pid = server.pid
        for start in range(0, len(HOSTILE), 8):
            async with ana.connected() as client:
                for _, frame, code in HOSTILE[start : start + 8]:
                    await client.send(frame)
                    assert (await client.until(lambda f: f["type"] == "error"))["code"] == code
        for what, message, close in FATAL:
            assert await closing_code(ana, message) == close, what
        async with bob.connected() as client:
            accepted = await client.ask("hello", "m1")
            assert (await client.until_end(accepted["run_id"]))[-1]["type"] == "agent_completed"
        assert server.pid == pid

    async def closing_code(user: User, message: str | bytes) -> int:
        async with user.connected() as client:
            await client.send(message)
            return await client.closed()

    asyncio.run(scenario())


def test_nobody_gets_in_without_valid_credentials(server: ServerProcess) -> None:
    async def scenario() -> None:
        (ana,) = await add_users(server, "ana")
        for headers, query, frame in (
            ({"Authorization": "Bearer nonsense"}, "", None),
            ({"Authorization": f"Basic {ana.token}"}, "", None),
            ({}, f"?token={ana.token}", None),
            ({}, "", {"type": "hello", "token": ana.token + "x"}),
            ({}, "", {"type": "hello", "ticket": "nonsense"}),
        ):
            url = server.url.replace("http", "ws") + "/ws" + query
            async with connect(url, additional_headers=headers, proxy=None) as socket:
                client = Client(socket)
                if frame is not None:
                    await client.send(frame)
                assert await client.closed() == 4401
            assert b"connection_established" not in client.bytes
        evil = {"Authorization": f"Bearer {ana.token}", "Origin": "https://evil.example"}
        url = server.url.replace("http", "ws") + "/ws"
        async with connect(url, additional_headers=evil, proxy=None) as socket:
            assert await Client(socket).closed() == 4403

    asyncio.run(scenario())


def test_a_disabled_user_is_out_at_once(server: ServerProcess) -> None:
    async def scenario() -> None:
        (ana,) = await add_users(server, "ana")
        async with ana.connected() as client:
            await disable(server, "ana")
            assert await client.closed() == 4401
        with pytest.raises(TidingsError) as refusal:
            await ana.upload(Path(__file__))
        assert refusal.value.code == "session_revoked"

    asyncio.run(scenario())


async def disable(server: ServerProcess, name: str) -> None:
    told = ("user", "disable", name, "--data-dir", server.data_dir)
    assert (await asyncio.to_thread(tidings, *told)).status == 0


def test_a_stopped_server_closes_its_clients_so_that_they_come_back(
    server: ServerProcess,
) -> None:
    async def scenario() -> None:
        (ana,) = await add_users(server, "ana")
        async with ana.connected() as client:
            assert await asyncio.to_thread(server.stop) == 0
            assert await client.closed() == 4100

    asyncio.run(scenario())
