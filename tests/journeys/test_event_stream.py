"""Server-sent events over real sockets: the same log, the same cursors, resumed by the last id."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.harness.server import ServerProcess, User, add_users, serving
from tidings.domain.events import TERMINAL

LONG_ENOUGH = 30.0


@dataclass(frozen=True)
class Heard:
    """One event of the stream, as an EventSource gives it to a page."""

    name: str
    id: str
    data: Any


class Reader:
    """Reads lines as an EventSource does."""

    def __init__(self, answer: httpx2.Response) -> None:
        self.answer = answer
        self.last_id = ""
        self._lines = answer.aiter_lines()

    async def next(self) -> Heard:
        name, data = "message", None
        async for line in self._lines:
            field, _, value = line.partition(": ")
            if field == "id":
                self.last_id = value
            elif field == "event":
                name = value
            elif field == "data":
                data = json.loads(value)
            elif not line and data is not None:
                return Heard(name, self.last_id, data)
        raise EOFError

    async def until(self, name: str) -> list[Heard]:
        heard = [await self.next()]
        while heard[-1].name != name:
            heard.append(await self.next())
        return heard

    async def until_end(self) -> list[Heard]:
        heard = [await self.next()]
        while heard[-1].data["type"] not in TERMINAL:
            heard.append(await self.next())
        return [h for h in heard if h.name == "message"]


@asynccontextmanager
async def following(
    user: User, thread_id: str, last_id: str | None = None, after: str | None = None
) -> AsyncIterator[Reader]:
    headers = {"Authorization": f"Bearer {user.token}"}
    if last_id is not None:
        headers["Last-Event-ID"] = last_id
    url = f"{user.server.url}/api/threads/{thread_id}/events"
    async with (
        httpx2.AsyncClient(timeout=LONG_ENOUGH) as client,
        client.stream(
            "GET", url, headers=headers, params={"after": after} if after else None
        ) as answer,
    ):
        yield Reader(answer)


@pytest.fixture
def server(tmp_path: Path) -> Any:
    with serving(tmp_path / "data") as process:
        yield process


async def asked(server: ServerProcess, name: str = "ana") -> tuple[User, str, list[dict[str, Any]]]:
    """Have a run from beginning to end; return whose it is, its thread and its events."""
    (user,) = await add_users(server, name)
    async with user.connected() as client:
        accepted = await client.ask("What did we spend?", "m1")
        events = await client.until_end(accepted["run_id"])
    return user, accepted["thread_id"], events


def test_the_events_are_those_of_the_socket_and_end_with_live(server: ServerProcess) -> None:
    async def scenario() -> None:
        user, thread_id, events = await asked(server)
        async with following(user, thread_id) as reader:
            assert reader.answer.headers["content-type"].startswith("text/event-stream")
            *heard, live = await reader.until("live")
            assert [h.data for h in heard] == events
            assert live.data == {
                "type": "live",
                "stream": f"thread:{thread_id}",
                "offset": events[-1]["offset"],
            }

    asyncio.run(scenario())


def test_the_last_id_resumes_from_anywhere(server: ServerProcess) -> None:
    async def scenario() -> None:
        user, thread_id, events = await asked(server)
        async with following(user, thread_id) as reader:
            ids = [h.id for h in (await reader.until("live"))[:-1]]
        for cut in (0, len(events) // 2, len(events) - 2):
            async with following(user, thread_id, last_id=ids[cut]) as reader:
                assert [h.data for h in (await reader.until("live"))[:-1]] == events[cut + 1 :]
        async with following(user, thread_id, last_id=ids[-1], after="0") as reader:
            assert [h.name for h in await reader.until("live")] == ["live"]

    asyncio.run(scenario())


def test_a_run_is_heard_while_it_works(server: ServerProcess) -> None:
    async def scenario() -> None:
        user, thread_id, events = await asked(server)
        async with following(user, thread_id, after="live") as reader:
            await reader.until("live")
            async with user.connected() as client:
                frame = {"thread_id": thread_id, "text": "And last month?"}
                await client.send({"type": "user_message", "id": "m2", "payload": frame})
                heard = await reader.until_end()
        assert heard[0].data["offset"] == events[-1]["offset"] + 1
        offsets = [h.data["offset"] for h in heard]
        assert offsets == list(range(offsets[0], offsets[0] + len(offsets)))

    asyncio.run(scenario())


def test_b27_a_last_id_that_is_no_cursor_is_refused(server: ServerProcess) -> None:
    async def scenario() -> None:
        user, thread_id, events = await asked(server)
        for bad in ("garbage", "-1", "a.1.b", "e.1", f"{events[0]['epoch']}.1.", "9" * 40):
            async with following(user, thread_id, last_id=bad) as reader:
                assert reader.answer.status_code == 400, bad
                assert json.loads(await reader.answer.aread())["code"] == "cursor_invalid"
        stale = f"{events[0]['epoch']}.{events[-1]['offset'] + 7}.AAAAAAAA"
        async with following(user, thread_id, last_id=stale) as reader:
            assert reader.answer.status_code == 409
            assert json.loads(await reader.answer.aread())["code"] == "cursor_diverged"

    asyncio.run(scenario())


def test_a_foreign_thread_and_no_thread_are_the_same_answer(server: ServerProcess) -> None:
    async def scenario() -> None:
        _, thread_id, _ = await asked(server)
        (bob,) = await add_users(server, "bob")
        answers = []
        for name in (thread_id, "t_01ARZ3NDEKTSV4RRFFQ69G5FAV"):
            async with following(bob, name) as reader:
                problem = json.loads(await reader.answer.aread())
                answers.append((reader.answer.status_code, problem["code"], problem["detail"]))
        assert answers[0] == answers[1]
        assert answers[0][:2] == (404, "not_found")

    asyncio.run(scenario())


def test_signing_out_ends_the_stream(server: ServerProcess) -> None:
    async def scenario() -> None:
        user, thread_id, _ = await asked(server)
        async with following(user, thread_id) as reader:
            await reader.until("live")
            async with httpx2.AsyncClient() as client:
                headers = {"Authorization": f"Bearer {user.token}"}
                await client.post(f"{server.url}/api/logout", headers=headers)
            (end,) = await reader.until("error")
            assert end.data["code"] == "session_revoked"
            with pytest.raises(EOFError):
                await reader.next()

    asyncio.run(scenario())


def test_deleting_the_thread_resets_the_stream(server: ServerProcess) -> None:
    async def scenario() -> None:
        user, thread_id, _ = await asked(server)
        async with following(user, thread_id, after="live") as reader:
            await reader.until("live")
            async with httpx2.AsyncClient() as client:
                headers = {"Authorization": f"Bearer {user.token}"}
                await client.delete(f"{server.url}/api/threads/{thread_id}", headers=headers)
            (reset,) = await reader.until("reset")
            assert reset.data == {
                "type": "reset",
                "stream": f"thread:{thread_id}",
                "why": "deleted",
            }

    asyncio.run(scenario())


def test_a_stopping_server_asks_the_reader_to_come_back(server: ServerProcess) -> None:
    async def scenario() -> None:
        user, thread_id, events = await asked(server)
        async with following(user, thread_id) as reader:
            last = (await reader.until("live"))[-2].id
            stopping = asyncio.get_running_loop().run_in_executor(None, server.stop)
            (drain,) = await reader.until("drain")
            assert drain.data["reconnect_within_ms"][0] == 0
            with pytest.raises(EOFError):
                await reader.next()
            await stopping
        server.start()
        async with following(user, thread_id, last_id=last) as reader:
            assert [h.name for h in await reader.until("live")] == ["live"]
        assert last.split(".")[1] == str(events[-1]["offset"])

    asyncio.run(scenario())


def test_events_applied_over_http_are_acknowledged_for_their_owner_only(
    server: ServerProcess,
) -> None:
    async def scenario() -> None:
        user, thread_id, events = await asked(server)
        (bob,) = await add_users(server, "bob")
        url, stream = f"{server.url}/api/positions", f"thread:{thread_id}"
        async with httpx2.AsyncClient() as client:
            for who in (user, bob):
                body = {"device": "page", "positions": {stream: events[-1]["offset"]}}
                headers = {"Authorization": f"Bearer {who.token}"}
                answer = await client.put(url, json=body, headers=headers)
                assert answer.status_code == 204
            for offset in (0, -1, 2**60, "1", 1.5):
                body = {"device": "page", "positions": {stream: offset}}
                headers = {"Authorization": f"Bearer {user.token}"}
                refused = await client.put(url, json=body, headers=headers)
                assert refused.status_code == 422, offset

    asyncio.run(scenario())
