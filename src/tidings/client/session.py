"""The asyncio client: connects, resumes, and yields every event once."""

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from tidings.domain.commands import Command, Receipt
from tidings.domain.cursors import FROM_START
from tidings.domain.errors import Conflict, Forbidden, TidingsError, Unauthenticated, Unavailable
from tidings.protocol.client import (
    Anew,
    Answered,
    Apply,
    ClientCore,
    Draining,
    Greeted,
    Happening,
    Reconnect,
    Reply,
    Told,
)
from tidings.protocol.closing import Close, Next, after_close
from tidings.protocol.connection import PING_SPREAD
from tidings.protocol.frames import Auth

ACK_SECONDS = 0.2
BACKOFF_BASE_SECONDS = 0.5
BACKOFF_MAX_SECONDS = 30.0
DOUBLINGS_MAX = 10
HEALTHY_SECONDS = 60.0
SILENCE_SECONDS = 30.0
FIRST_SECONDS = 5.0
MESSAGE_BYTES_MAX = 16 * 1024 * 1024
_RETRY_AFTER = re.compile(r"retry_after_ms=(\d{1,7})")

TokenSource = Callable[[], Awaitable[str]]
"""Returns an access token; asked before every connection, and when the one in use is expiring."""


def always(token: str) -> TokenSource:
    """Return a source of one token: for a client that lives no longer than it."""

    async def source() -> str:
        return token

    return source


class Session:
    """A client of one server. Use it as `async with`; iterate `events()` to the end you want.

    Cuts are healed by themselves: it reconnects with jitter, resumes from its cursors and sends
    unanswered commands again. Only a server that never answered is given up, after FIRST_SECONDS.

    Raises:
        Unavailable: `server_unreachable`.
        Unauthenticated: the server does not know us (any more).
        Conflict: `stream_reset`: a stream cannot go on from its cursor; take its snapshot and
            follow it from there.
    """

    def __init__(
        self,
        url: str,
        token: TokenSource,
        device: str,
        rng: random.Random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.core = ClientCore(device)
        self._url = url.replace("http", "ws", 1).rstrip("/") + "/ws"
        self._token = token
        self._rng = rng
        self._clock = clock
        self._applied: asyncio.Queue[Apply | TidingsError] = asyncio.Queue()
        self._answers: dict[str, asyncio.Future[Receipt]] = {}
        self._socket: ClientConnection | None = None
        self._next: ClientConnection | None = None
        self._tasks = asyncio.TaskGroup()
        self._connecting: asyncio.Task[None] | None = None
        self._known = False
        self._begun = clock()
        self._failures = 0
        self._given_up: TidingsError | None = None
        self._greeted_at = float("inf")
        self._silence = SILENCE_SECONDS

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._connecting = self._tasks.create_task(self._stay_connected())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._acknowledge_last()
        if self._connecting is not None:
            self._connecting.cancel()
        await self._tasks.__aexit__(None, None, None)  # so that the block's own error stays bare

    async def send(self, command: Command) -> Receipt:
        """Have a command accepted, however often the connection is cut meanwhile.

        Raises:
            TidingsError: the server refused it, by code and sentence; or there is no going on.
        """
        if self._given_up is not None:
            raise self._given_up
        answer: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._answers[command.id] = answer
        message = self.core.command(command)
        if self._socket is not None:
            await _try_send(self._socket, message)
        return await answer

    def post(self, command: Command) -> None:
        """Send a command without waiting for its answer."""
        self._tasks.create_task(self._send_quietly(command))

    async def _send_quietly(self, command: Command) -> None:
        with suppress(TidingsError):
            await self.send(command)

    async def follow(self, stream: str, position: str = FROM_START) -> None:
        """Follow a stream from a position: its start, or the cursor of a snapshot."""
        message = self.core.follow(stream, position)
        if self._socket is not None:
            await _try_send(self._socket, message)

    async def events(self) -> AsyncIterator[Apply]:
        """Yield every event of the followed streams, in order, once; for ever."""
        while True:
            item = await self._applied.get()
            if isinstance(item, TidingsError):
                raise item
            yield item

    async def _stay_connected(self) -> None:
        """Connect and talk, again and again, until there is no sense in it."""
        try:
            while True:
                retry_after = await self._talk()
                if self._next is None:
                    await asyncio.sleep(max(retry_after, self._pause()))
        except TidingsError as error:
            self._give_up(error)

    async def _talk(self) -> float:
        """Talk over one connection to its end; return for how long the server wants to be left."""
        try:
            await self._converse(self._next or await self._connect())
        except ConnectionClosed as closed:
            if error := _final(closed):
                raise error from closed
            return _retry_after_seconds(closed)
        except InvalidURI as error:
            raise Unavailable("server_unreachable", "This is no server's address.") from error
        except (OSError, InvalidHandshake, TimeoutError) as error:
            if not self._known and self._clock() - self._begun > FIRST_SECONDS:
                why = f"Nothing answers at {self._url}; is a server running there?"
                raise Unavailable("server_unreachable", why) from error
        return 0.0

    async def _connect(self) -> ClientConnection:
        return await connect(
            self._url,
            max_size=MESSAGE_BYTES_MAX,
            compression=None,
            ping_interval=None,
            proxy=None,
        )

    def _pause(self) -> float:
        """Return how long to wait before the next attempt: full jitter, longer each time."""
        healthy = self._clock() - self._greeted_at >= HEALTHY_SECONDS
        self._greeted_at = float("inf")
        self._failures = 0 if healthy else self._failures + 1
        longest = BACKOFF_MAX_SECONDS if self._known else BACKOFF_BASE_SECONDS
        doublings = min(self._failures - 1, DOUBLINGS_MAX)
        return self._rng.uniform(0, min(longest, BACKOFF_BASE_SECONDS * 2**doublings))

    async def _converse(self, socket: ClientConnection) -> None:
        """Say hello and take what comes, until the connection ends.

        Raises:
            ConnectionClosed: it was closed, by either side.
            TimeoutError: nothing came for longer than a living server is silent.
        """
        self._next = None
        acking = self._tasks.create_task(self._acknowledge(socket))
        try:
            await socket.send(self.core.hello(token=await self._token()).decode())
            while True:
                async with asyncio.timeout(self._silence):
                    message = await socket.recv()
                for happening in self.core.receive(message):
                    await self._take(socket, happening)
        except TimeoutError:
            socket.transport.abort()  # there is nobody to say goodbye to
            raise
        finally:
            self._socket = None
            acking.cancel()
            await socket.close()

    async def _take(self, socket: ClientConnection, happening: Happening) -> None:
        match happening:
            case Apply():
                self._applied.put_nowait(happening)
            case Reply(message):
                await _try_send(socket, message)
            case Answered():
                self._answer(happening)
            case Anew(stream, why):
                self._applied.put_nowait(_reset(stream, why))
            case Draining(within_ms):
                self._tasks.create_task(self._move(socket, within_ms))
            case Greeted():
                await self._begin(socket, happening)
            case Reconnect() | Told():
                await self._hear(socket, happening)

    async def _begin(self, socket: ClientConnection, greeted: Greeted) -> None:
        """Go on where the last connection ended: with what the server has not answered."""
        self._socket, self._known, self._greeted_at = socket, True, self._clock()
        self._silence = _longest_silence(greeted.frame)
        for status in greeted.refused:
            self._applied.put_nowait(_reset(status["stream"], status["code"]))
        for message in self.core.unanswered():
            await _try_send(socket, message)

    async def _hear(self, socket: ClientConnection, happening: Reconnect | Told) -> None:
        if isinstance(happening, Reconnect):
            await socket.close(happening.code)
        elif happening.frame.get("type") == "auth_expiring":
            renewed = Auth(token=await self._token())
            await _try_send(socket, msgspec.json.encode(renewed))

    async def _move(self, socket: ClientConnection, within_ms: tuple[int, int]) -> None:
        """Have another connection open before this one is left."""
        await asyncio.sleep(self._rng.uniform(*within_ms) / 1000)
        with suppress(OSError, InvalidHandshake, TimeoutError):
            self._next = await self._connect()
        await socket.close()

    def _answer(self, answered: Answered) -> None:
        answer = self._answers.pop(answered.ref, None)
        if answer is None or answer.done():
            return
        if answered.receipt is not None:
            answer.set_result(answered.receipt)
        elif answered.error is not None:
            answer.set_exception(TidingsError(answered.error["code"], answered.error["message"]))

    async def _acknowledge(self, socket: ClientConnection) -> None:
        while True:
            await asyncio.sleep(ACK_SECONDS)
            message = self.core.acknowledgement() if self._socket is socket else None
            if message is not None:
                await _try_send(socket, message)

    async def _acknowledge_last(self) -> None:
        """Say what is applied before leaving, so that nobody is told of it again; do not insist."""
        message = self.core.acknowledgement()
        if message is not None and self._socket is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(ACK_SECONDS):
                    await _try_send(self._socket, message)

    def _give_up(self, error: TidingsError) -> None:
        """Tell everybody who waits that there is no going on."""
        self._given_up = error
        self._applied.put_nowait(error)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)


async def _try_send(socket: ClientConnection, message: bytes) -> None:
    """Send; what a cut swallows is sent again after the reconnect."""
    try:
        await socket.send(message.decode())
    except ConnectionClosed:
        return


def _longest_silence(greeting: dict[str, Any]) -> float:
    """Return after how many seconds without a frame the server is gone; it pings before that."""
    heartbeat = greeting.get("heartbeat", {})
    interval = float(heartbeat.get("interval_seconds", SILENCE_SECONDS))
    return (1 + PING_SPREAD) * interval + float(heartbeat.get("timeout_seconds", 0.0))


def _reset(stream: str, why: str) -> TidingsError:
    return Conflict("stream_reset", f"{stream} cannot go on ({why}); begin from its snapshot.")


def _final(closed: ConnectionClosed) -> TidingsError | None:
    """Return why not to come back, if the close code says so."""
    code = closed.rcvd.code if closed.rcvd else 0
    if code == Close.AUTH_FAILED:
        return Unauthenticated("auth_failed", "The server does not know you; get a fresh token.")
    if code != Close.NORMAL and after_close(code) in {Next.STOP, Next.UPGRADE}:
        return Forbidden("closed_by_server", f"The server closed the connection for good ({code}).")
    return None


def _retry_after_seconds(closed: ConnectionClosed) -> float:
    found = _RETRY_AFTER.search(closed.rcvd.reason) if closed.rcvd else None
    return int(found[1]) / 1000 if found else 0.0
