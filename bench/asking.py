"""Clients that ask one question after the other and time the answer, in each server's protocol."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Protocol, cast
from uuid import UUID

from bench.peers.script import AGENT, QUESTION, WORDS
from bench.wire import Reader, Wire

ANSWER_SECONDS_MAX = 10.0
LAST_WORD = WORDS[-1].encode()


class Failed(Exception):
    """The run did not come to its good end."""


class Asker(Protocol):
    """A client with a connection of its own."""

    async def open(self, url: str) -> None:
        """Connect."""
        ...

    async def ask(self) -> tuple[float, float]:
        """Ask; return the seconds to the first event and to the last.

        Raises:
            Failed: there was an error, or no whole answer within ANSWER_SECONDS_MAX.
        """
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class Timing:
    """The times of one question after the other; each asker has one."""

    def __init__(self) -> None:
        self._first = 0.0
        self._ended: asyncio.Future[float] | None = None

    async def of(self, send: Callable[[], None]) -> tuple[float, float]:
        """Send the question and wait for what the other methods tell."""
        self._ended, self._first = asyncio.get_running_loop().create_future(), 0.0
        begun = time.perf_counter()
        send()
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                ended = await self._ended
        except TimeoutError:
            raise Failed("no answer in time") from None
        return self._first - begun, ended - begun

    def event(self) -> None:
        """Hear that an event of the answer has come."""
        self._first = self._first or time.perf_counter()

    def end(self) -> None:
        """Hear that the answer is whole."""
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(time.perf_counter())

    def failed(self, reason: bytes) -> None:
        """Hear that there will be none."""
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(Failed(reason[:300].decode(errors="replace")))


class Conversation:
    """Tidings: a thread on a socket."""

    _TERMINAL = b'"type":"agent_completed"'
    _FAILED = (b'"type":"agent_failed"', b'"type":"agent_cancelled"', b'"type":"error"')

    def __init__(self, token: str, name: str) -> None:
        self._token = token
        self._name = name
        self._numbers = count()
        self._thread: str | None = None
        self._timing = Timing()
        self._reader = Reader()
        self._reader.on_events = self._on_events
        self._reader.on_other = self._on_other  # type: ignore[method-assign]

    async def open(self, url: str) -> None:
        await self._reader.connect(url, self._token)

    async def ask(self) -> tuple[float, float]:
        payload = {"user_request": QUESTION, "agent": AGENT}
        if self._thread:
            payload["thread_id"] = self._thread
        command_id = f"{self._name}.{next(self._numbers)}"
        command = {"type": "start_agent", "id": command_id, "payload": payload}
        return await self._timing.of(lambda: self._reader.wire.send(command))

    def close(self) -> None:
        self._reader.wire.close()

    def _on_events(self, message: bytes, _count: int) -> None:
        self._timing.event()
        if any(mark in message for mark in self._FAILED):
            self._timing.failed(message)
        if self._TERMINAL in message:
            self._timing.end()

    def _on_other(self, message: bytes) -> None:
        if any(mark in message for mark in self._FAILED):
            self._timing.failed(message)
        mark = b'"thread_id":"'
        if self._thread is None and mark in message:
            at = message.index(mark) + len(mark)
            self._thread = message[at : message.index(b'"', at)].decode()
            self._reader.follow(f"thread:{self._thread}")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a question is put over HTTP, and what shows that an answer is whole."""

    path: str
    content_type: str
    body: Callable[[str], str]
    """Given an id that nobody else has."""
    end: bytes
    failed: bytes


class Post(asyncio.Protocol):
    """A kept-alive HTTP connection whose answers are streamed in chunks."""

    _LAST_CHUNK = b"\r\n0\r\n\r\n"

    def __init__(self, dialect: Dialect, name: str) -> None:
        self._dialect = dialect
        self._name = name
        self._numbers = count()
        self._url = ""
        self._transport: asyncio.Transport | None = None
        self._answer = b""
        self._timing = Timing()

    async def open(self, url: str) -> None:
        self._url = url
        host, port = url.removeprefix("http://").split(":")
        await asyncio.get_running_loop().create_connection(lambda: self, host, int(port))

    async def ask(self) -> tuple[float, float]:
        if self._transport is None:
            await self.open(self._url)
        body = self._dialect.body(f"{self._name}-{next(self._numbers)}")
        head = (
            f"POST {self._dialect.path} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
            f"Content-Type: {self._dialect.content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._answer = b""
        try:
            return await self._timing.of(lambda: self._write((head + body).encode()))
        except Failed:
            self.close()  # what may still come belongs to no question
            raise

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        self._timing.failed(b"the connection was closed")

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if b"data:" in data:
            self._timing.event()
        if not self._answer.startswith(b"HTTP/1.1 200"):
            self._timing.failed(self._answer)
        elif self._answer.endswith(self._LAST_CHUNK):
            whole = LAST_WORD in self._answer and self._dialect.end in self._answer
            if whole and self._dialect.failed not in self._answer:
                self._timing.end()
            else:
                self._timing.failed(self._answer[-300:])

    def _write(self, request: bytes) -> None:
        assert self._transport is not None
        self._transport.write(request)


class Chat:
    """Chainlit: its events over Socket.IO, over a WebSocket alone."""

    _PATH = "/ws/socket.io/?EIO=4&transport=websocket"
    _PING, _PONG, _NEW, _EVENT, _END = b"2", b"3", b'42["new_message"', b"42[", b'42["task_end"'

    def __init__(self, name: str) -> None:
        self._numbers = count(hash(name) % 2**32 << 32)
        self._answer = b""
        self._timing = Timing()
        self._greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wire = Wire(self._take, self._timing.failed, self._PATH)

    async def open(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self._wire, host, int(port))
        await self._wire.opened
        session = {"sessionId": self._new_id(), "clientType": "webapp", "userEnv": "{}"}
        self._wire.send_text(b"40" + json.dumps(session).encode())
        await self._greeted
        self._wire.send_text(b'42["connection_successful"]')

    async def ask(self) -> tuple[float, float]:
        said = {"id": self._new_id(), "name": "user", "type": "user_message", "output": QUESTION}
        event = ["client_message", {"message": said | {"createdAt": "2026-11-01T00:00:00Z"}}]
        self._answer = b""
        return await self._timing.of(
            lambda: self._wire.send_text(b"42" + json.dumps(event).encode())
        )

    def close(self) -> None:
        self._wire.close()

    def _new_id(self) -> str:
        return str(UUID(int=next(self._numbers), version=4))

    def _take(self, wire: Wire, message: bytes) -> None:
        if message == self._PING:
            wire.send_text(self._PONG)
        elif message.startswith(b"40"):
            self._greeted.set_result(None)
        elif message.startswith(self._END):
            if LAST_WORD in self._answer:
                self._timing.end()
        elif message.startswith(self._EVENT):
            self._answer += message
            self._timing.event()
