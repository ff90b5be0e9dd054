"""The asyncio client: connects, resumes, and yields every event once."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from tidings.domain.commands import Command, Receipt
from tidings.domain.errors import Conflict, Forbidden, TidingsError, Unauthenticated, Unavailable
from tidings.protocol.client import (
    Answered,
    Apply,
    ClientCore,
    GapError,
    Greeted,
    Happening,
    Reading,
    Reply,
    Told,
)
from tidings.protocol.closing import Close

ACK_SECONDS = 0.2
BACKOFF_BASE_SECONDS = 0.5
BACKOFF_MAX_SECONDS = 30.0
FIRST_SECONDS = 5.0
MESSAGE_BYTES_MAX = 16 * 1024 * 1024


class Session:
    """A client of one server. Use it as `async with`; iterate `events()` to the end you want.

    Cuts are healed by themselves: it reconnects with jitter, resumes from its cursors and sends
    unanswered commands again. Only a server that never answered is given up, after FIRST_SECONDS.

    Raises:
        Unavailable: `server_unreachable`.
        Unauthenticated: the server does not know us (any more).
        Conflict: `cursor_diverged`, `cursor_trimmed`: a stream cannot go on from its cursor.
    """

    def __init__(
        self,
        url: str,
        token: str,
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
        self._tasks = asyncio.TaskGroup()
        self._connecting: asyncio.Task[None] | None = None
        self._known = False

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
        if self._connecting is not None:
            self._connecting.cancel()
        await self._tasks.__aexit__(None, None, None)  # so that the block's own error stays bare

    async def send(self, command: Command) -> Receipt:
        """Have a command accepted, however often the connection is cut meanwhile.

        Raises:
            TidingsError: the server refused it, by code and sentence.
        """
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

    def follow(self, stream: str) -> None:
        """Follow a stream from its start, from the next connection on."""
        self.core.streams.setdefault(stream, Reading())

    async def events(self) -> AsyncIterator[Apply]:
        """Yield every event of the followed streams, in order, once; for ever."""
        while True:
            item = await self._applied.get()
            if isinstance(item, TidingsError):
                raise item
            yield item

    async def _stay_connected(self) -> None:
        failures, begun = 0, self._clock()
        while True:
            try:
                async with connect(
                    self._url,
                    max_size=MESSAGE_BYTES_MAX,
                    compression=None,
                    ping_interval=None,
                    proxy=None,
                ) as socket:
                    await self._converse(socket)
                failures = 0
            except ConnectionClosed as closed:
                failures = 0 if self.core.streams else failures + 1
                if error := _final(closed):
                    self._give_up(error)
                    return
            except (OSError, InvalidHandshake, TimeoutError):
                failures += 1
                if not self._known and self._clock() - begun > FIRST_SECONDS:
                    self._give_up(Unavailable("server_unreachable", f"{self._url} is not there."))
                    return
            except InvalidURI:
                self._give_up(Unavailable("server_unreachable", "This is no server's address."))
                return
            except TidingsError as error:
                self._give_up(error)
                return
            finally:
                self._socket = None
            longest = BACKOFF_MAX_SECONDS if self._known else BACKOFF_BASE_SECONDS
            pause = min(longest, BACKOFF_BASE_SECONDS * 2 ** min(failures, 10))
            await asyncio.sleep(self._rng.uniform(0, pause))

    async def _converse(self, socket: ClientConnection) -> None:
        await socket.send(self.core.hello(token=self._token).decode())
        acking = self._tasks.create_task(self._acknowledge(socket))
        try:
            while True:
                for happening in self.core.receive(await socket.recv()):
                    await self._take(socket, happening)
        except GapError:
            await socket.close(Close.NORMAL)
        finally:
            acking.cancel()

    async def _take(self, socket: ClientConnection, happening: Happening) -> None:
        match happening:
            case Apply():
                self._applied.put_nowait(happening)
            case Reply(message):
                await _try_send(socket, message)
            case Greeted(_, refused):
                for stream in refused:
                    self._give_up(Conflict(stream["code"], stream["message"]))
                self._socket, self._known = socket, True
                for message in self.core.unanswered():
                    await _try_send(socket, message)
            case Answered():
                self._answer(happening)
            case Told():
                pass

    def _answer(self, answered: Answered) -> None:
        answer = self._answers.get(answered.ref)
        if answer is None or answer.done():
            return
        if answered.receipt is not None:
            answer.set_result(answered.receipt)
        elif answered.error is not None:
            answer.set_exception(TidingsError(answered.error["code"], answered.error["message"]))

    async def _acknowledge(self, socket: ClientConnection) -> None:
        while True:
            await asyncio.sleep(ACK_SECONDS)
            message = self.core.acknowledgement()
            if message is not None:
                await _try_send(socket, message)

    def _give_up(self, error: TidingsError) -> None:
        """Tell everybody who waits that there is no going on."""
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


def _final(closed: ConnectionClosed) -> TidingsError | None:
    """Return why not to come back, if the close code says so."""
    code = closed.rcvd.code if closed.rcvd else 0
    if code == Close.AUTH_FAILED:
        return Unauthenticated("auth_failed", "The server does not know you; get a fresh token.")
    if Close.BAD_FRAME <= code <= Close.ABUSE:
        return Forbidden("closed_by_server", f"The server closed the connection for good ({code}).")
    return None
