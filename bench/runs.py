"""One message, one tool call, a streamed answer: runs a second, and how soon the first event."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import cast

from bench.processes import Served, served
from bench.tables import percentile, table
from bench.wire import Reader

SECONDS = 4.0
WARM_SECONDS = 0.7
CONCURRENCIES = (1, 16, 64)
CONNECTIONS_MIN = 16
TERMINAL = b'"type":"agent_completed"'
FAILED = (b'"type":"agent_failed"', b'"type":"error"')
_REQUEST = b'{"text":"What is this?"}'
_POST = b"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "


@dataclass(slots=True)
class Measured:
    """What the runs of one concurrency took; times in ms."""

    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def row(self, name: str) -> list[object]:
        runs = len(self.whole)
        return [
            name,
            runs / self.seconds,
            self.cpu_seconds / runs * 1000,
            percentile(self.first, 0.5),
            percentile(self.whole, 0.5),
            percentile(self.whole, 0.99),
        ]


Ask = Callable[[], Awaitable[tuple[float, float]]]


class Conversation:
    """A thread on a connection of its own: one question after the other."""

    def __init__(self, reader: Reader, name: str) -> None:
        self._reader = reader
        self._name = name
        self._numbers = count()
        self._thread: str | None = None
        self._first = 0.0
        self._ended: asyncio.Future[float]
        reader.on_events = self._on_events
        reader.on_other = self._on_other  # type: ignore[method-assign]

    async def ask(self) -> tuple[float, float]:
        """Ask; return the seconds to the first event and to the last."""
        self._ended, self._first = asyncio.get_running_loop().create_future(), 0.0
        payload = {"user_request": "What is this?", "agent": "one_tool"}
        if self._thread:
            payload["thread_id"] = self._thread
        begun = time.perf_counter()
        command_id = f"{self._name}.{next(self._numbers)}"
        self._reader.wire.send({"type": "start_agent", "id": command_id, "payload": payload})
        ended = await self._ended
        return self._first - begun, ended - begun

    def _on_events(self, message: bytes, _count: int) -> None:
        now = time.perf_counter()
        self._first = self._first or now
        if any(mark in message for mark in FAILED):
            raise RuntimeError(message.decode())
        if TERMINAL in message:
            self._ended.set_result(now)

    def _on_other(self, message: bytes) -> None:
        if any(mark in message for mark in FAILED):
            raise RuntimeError(message.decode())
        mark = b'"thread_id":"'
        if self._thread is None and mark in message:
            at = message.index(mark) + len(mark)
            self._thread = message[at : message.index(b'"', at)].decode()
            self._reader.follow(f"thread:{self._thread}")


class Post(asyncio.Protocol):
    """A kept-alive HTTP connection that asks the peer."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._first = 0.0
        self._tail = b""
        self._ended: asyncio.Future[float]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if not self._first and b"event_kind" in data:
            self._first = now
        self._tail = (self._tail + data)[-8:]
        if self._tail.endswith(b"\r\n0\r\n\r\n"):
            self._ended.set_result(now)

    async def ask(self) -> tuple[float, float]:
        self._ended, self._first = asyncio.get_running_loop().create_future(), 0.0
        begun = time.perf_counter()
        self._transport.write(_POST + str(len(_REQUEST)).encode() + b"\r\n\r\n" + _REQUEST)
        ended = await self._ended
        return self._first - begun, ended - begun


async def measure(server: Served, asks: list[Ask], concurrency: int) -> Measured:
    """Have so many ask at once for a while; connections take turns."""
    measured, turns = Measured(), count()
    warm_until = time.monotonic() + WARM_SECONDS
    cpu = begun = 0.0

    async def one(mine: list[Ask]) -> None:
        nonlocal cpu, begun
        while (now := time.monotonic()) < warm_until + SECONDS:
            first, whole = await mine[next(turns) % len(mine)]()
            if now >= warm_until:
                if not begun:
                    begun, cpu = now, server.cpu_seconds()
                measured.first.append(first * 1000)
                measured.whole.append(whole * 1000)

    async with asyncio.TaskGroup() as tasks:
        for number in range(concurrency):
            tasks.create_task(one(asks[number::concurrency]))
    measured.seconds = time.monotonic() - begun
    measured.cpu_seconds = server.cpu_seconds() - cpu
    return measured


async def product(concurrency: int) -> Measured:
    async with served("product") as server:
        conversations = []
        for number in range(max(CONNECTIONS_MIN, concurrency)):
            reader = Reader()
            await reader.connect(server.url, server.tokens[number % len(server.tokens)])
            conversations.append(Conversation(reader, f"c{number}"))
        return await measure(server, [c.ask for c in conversations], concurrency)


async def peer(concurrency: int) -> Measured:
    async with served("peer") as server:
        host, port = server.url.removeprefix("http://").split(":")
        loop = asyncio.get_running_loop()
        posts = [
            (await loop.create_connection(Post, host, int(port)))[1] for _ in range(concurrency)
        ]
        return await measure(server, [post.ask for post in posts], concurrency)


async def report() -> str:
    rows = []
    for concurrency in CONCURRENCIES:
        ours, theirs = await product(concurrency), await peer(concurrency)
        rows.append(ours.row(f"Tidings, {concurrency} at once"))
        rows.append(theirs.row(f"FastAPI + pydantic-ai, {concurrency} at once"))
    heads = ["", "runs/s", "CPU ms a run", "first event p50, ms", "run p50, ms", "run p99, ms"]
    return table("One-tool runs", heads, rows)
