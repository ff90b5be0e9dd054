"""A real server does what the vectors say, over real sockets."""

import asyncio
import itertools
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.conformance.vectors import differs, load, name_of, same
from tests.harness.server import ServerProcess, User, add_users, serving

VECTORS = load("server")
SECONDS_MAX = 60
PASSING = {"live", "ping"}
FORGED = "00000000"


class Stage:
    """What the vectors take for granted: two users, and a thread of each with a run that ended."""

    def __init__(self, server: ServerProcess, user: User, other: User) -> None:
        self.server = server
        self.user = user
        self.other = other
        self.names: dict[str, Any] = {"$token": user.token, "$other_token": other.token}

    async def set_up(self) -> None:
        stream, last = await self._thread(self.user)
        foreign, _ = await self._thread(self.other)
        head, tail = last["offset"], last["event_id"][-8:]
        async with self.user.connected() as client:
            own = client.heard[0]["user_id"]
        self.names |= {
            "$thread": stream,
            "$foreign": foreign,
            "$foreign_id": foreign.removeprefix("thread:"),
            "$own": f"user:{own}",
            "$snapshot": f"/api/threads/{stream.removeprefix('thread:')}/snapshot",
            "$head": head,
            "$head_plus_1": head + 1,
            "$cursor": f"{last['epoch']}.{head}.{tail}",
            "$forged_cursor": f"{last['epoch']}.{head}.{FORGED}",
            "$later_cursor": f"{last['epoch']}.{head + 5}.{tail}",
        }

    async def _thread(self, user: User) -> tuple[str, dict[str, Any]]:
        async with user.connected() as client:
            accepted = await client.ask("hi", "stage")
            events = await client.until_end(accepted["run_id"])
        return events[-1]["stream"], events[-1]

    async def ticket(self) -> str:
        headers = {"authorization": f"Bearer {self.user.token}"}
        async with httpx2.AsyncClient(trust_env=False) as client:
            answer = await client.post(f"{self.server.url}/api/ws-ticket", headers=headers)
        return str(answer.json()["ticket"])

    def socket(self, vector: dict[str, Any]) -> connect:
        plain = vector.get("connection") == "plain"
        headers = {"Authorization": f"Bearer {self.user.token}"} if plain else {}
        if "origin" in vector:
            headers["Origin"] = vector["origin"].replace("$own_origin", self.server.url)
        query = vector.get("query", "").replace("$token", self.user.token)
        address = f"{self.server.url.replace('http', 'ws')}/ws{query and '?' + query}"
        return connect(address, additional_headers=headers, proxy=None, max_size=None)


class Peer:
    """One connection that acts out a vector."""

    def __init__(self, socket: ClientConnection, names: dict[str, Any]) -> None:
        self._socket = socket
        self._names = names
        self._arrived: list[dict[str, Any]] = []
        self._same: list[Any] = []

    async def act(self, step: dict[str, Any]) -> None:
        if not await self._say(step):
            await self._hear(step)

    async def _say(self, step: dict[str, Any]) -> bool:
        """Send what a step sends, if it sends something."""
        match step:
            case {"send": frame}:
                message = self._filled(json.dumps(self._meant(frame)), step.get("bytes"))
                await self._send([message] * step.get("times", 1))
            case {"send_text": text}:
                await self._send([text])
            case {"send_binary": digits}:
                await self._send([bytes.fromhex(digits)])
            case _:
                return False
        return True

    async def _hear(self, step: dict[str, Any]) -> None:
        """Check that a step's answer is the next that comes."""
        match step:
            case {"expect": pattern}:
                for _ in range(step.get("times", 1)):
                    self._check(await self._frame(), self._meant(pattern))
            case {"expect_event": pattern}:
                await self._event(self._meant(pattern))
            case {"catches_up": place}:
                meant = self._meant(place)
                await self._catches_up(meant["stream"], meant["from"], meant["to"])
            case {"alive": True}:
                await self._send([json.dumps({"type": "nothing", "id": "alive"})])
                self._check(await self._frame(), {"type": "error", "ref": "alive"})
            case _:
                assert await self._closed() == step["close"], step

    def _check(self, got: Any, pattern: Any) -> None:
        assert not differs(got, pattern), f"{got} is not {pattern}"
        self._same += same(got, pattern)
        assert all(value == self._same[0] for value in self._same), self._same

    def _meant(self, value: Any) -> Any:
        """Put in what the placeholders stand for, and write out what is repeated."""
        match value:
            case {"text": text, "times": int(times)}:
                return text * times
            case {"list": item, "times": int(times)}:
                return [self._meant(item) for _ in range(times)]
            case dict():
                return {self._meant(name): self._meant(item) for name, item in value.items()}
            case list():
                return [self._meant(item) for item in value]
            case "$new_id":
                return f"m{next(_numbers)}"
            case str():
                return self._names.get(value, value)
            case _:
                return value

    def _filled(self, message: str, size: int | None) -> str:
        """Make a message as long as it shall be, by a field that nobody knows."""
        if size is None:
            return message
        start = message[:-1] + ', "pad": "'
        return start + "x" * (size - len(start) - 2) + '"}'

    async def _send(self, messages: list[str] | list[bytes]) -> None:
        with suppress(ConnectionClosed):  # what it closes with is looked at later
            for message in messages:
                await self._socket.send(message)

    async def _next(self) -> dict[str, Any]:
        while not self._arrived:
            async with asyncio.timeout(SECONDS_MAX):
                said = json.loads(await self._socket.recv())
            self._arrived = said if isinstance(said, list) else [said]
        return self._arrived.pop(0)

    async def _frame(self) -> dict[str, Any]:
        """Return the next frame that answers something."""
        while True:
            frame = await self._next()
            if "event_id" not in frame and frame["type"] not in PASSING:
                return frame

    async def _event(self, pattern: dict[str, Any]) -> None:
        while True:
            frame = await self._next()
            if "event_id" in frame and not differs(frame, pattern):
                return

    async def _catches_up(self, stream: str, first: int, to: int) -> None:
        for offset in range(first, to + 1):
            frame = await self._next()
            while frame["type"] == "ping":
                frame = await self._next()
            self._check(frame, {"stream": stream, "offset": offset, "event_id": "$any"})
        self._check(await self._next(), {"type": "live", "stream": stream, "offset": to})

    async def _closed(self) -> int:
        try:
            frame = await self._frame()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006
        pytest.fail(f"said instead of closing: {frame}")


_numbers = itertools.count()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with serving(tmp_path_factory.mktemp("conformance")) as server:
        stage = Stage(server, *asyncio.run(add_users(server, "ana", "bob")))
        asyncio.run(stage.set_up())
        yield stage


@pytest.mark.parametrize("vector", VECTORS, ids=map(name_of, VECTORS))
def test_the_server_conforms(stage: Stage, vector: dict[str, Any]) -> None:
    async def scenario() -> None:
        names = stage.names | {"$id": f"m{next(_numbers)}"}
        text = json.dumps(vector)
        if "$ticket" in text:
            names["$ticket"] = await stage.ticket()
        if "$used_ticket" in text:
            names["$used_ticket"] = await used(stage)
        async with stage.socket(vector) as socket:
            peer = Peer(socket, names)
            if vector.get("connection") == "plain":
                await peer.act({"expect": {"type": "connection_established"}})
            for step in vector["steps"]:
                await peer.act(step)

    asyncio.run(scenario())


async def used(stage: Stage) -> str:
    ticket = await stage.ticket()
    async with stage.socket({}) as socket:
        await socket.send(json.dumps({"type": "hello", "ticket": ticket}))
        await socket.recv()
    return ticket
