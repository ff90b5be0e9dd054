"""One WebSocket: carries frames in and events out; `protocol.connection` decides."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tidings.domain.context import UserContext
from tidings.domain.errors import Conflict, InvalidInput, NotFound, TidingsError, Unavailable
from tidings.domain.ports import Clock
from tidings.events.feed import Feed, Follower
from tidings.events.positions import Positions
from tidings.events.ranges import Entry
from tidings.gateway.outlet import Outlet
from tidings.gateway.presence import Presence
from tidings.gateway.sampling import DeliverySample
from tidings.health.levels import DeliveryLevels
from tidings.health.metrics import Metrics
from tidings.identity.service import Identity
from tidings.protocol.closing import Close
from tidings.protocol.connection import Connection, Pace, followed, too_many_streams
from tidings.protocol.effects import (
    Authenticate,
    Carry,
    CloseWith,
    Effect,
    Follow,
    Leave,
    Miscounted,
    Remember,
    Send,
)
from tidings.protocol.frames import ECHO_CHARACTERS_MAX, SUBSCRIPTIONS_MAX, Mismatch, Subscription
from tidings.protocol.server_frames import StreamStatus, not_followed
from tidings.router.accept import Router

READ_EVENTS = 128
CLOSE_SECONDS = 1.0

_log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
SendMessage = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Backend:
    """What connections work with."""

    identity: Identity
    router: Router
    feed: Feed
    positions: Positions
    metrics: Metrics
    clock: Clock
    pace: Pace
    levels: DeliveryLevels


class Socket:
    """One connection: a reader, a pump, and the rules between them."""

    def __init__(
        self,
        backend: Backend,
        presence: Presence,
        connection_id: str,
        receive: Receive,
        send: SendMessage,
        outlet: Outlet,
    ) -> None:
        self.connection = Connection(connection_id, backend.clock.monotonic(), backend.pace)
        self._backend = backend
        self._presence = presence
        self._receive = receive
        self._send = send
        self._outlet = outlet
        self._followers: dict[str, Follower] = {}
        self._catching_up: dict[str, int] = {}
        self._loop = asyncio.get_running_loop()
        self._tasks = asyncio.TaskGroup()
        self._working: set[asyncio.Task[None]] = set()
        self._woken = False
        self._pumping = False
        self._is_more = False
        self._over = False
        self._sending_since: float | None = None
        self._sample = DeliverySample(backend.levels, backend.clock)

    async def serve(self, headers: dict[str, str], query: bytes) -> None:
        """Serve until either side ends it."""
        try:
            async with self._tasks:
                try:
                    await self._enter(headers, query)
                    del headers
                    await self._read()
                finally:
                    self._over = True
                    for task in self._working:
                        task.cancel()
        except* (_Ended, OSError):
            pass  # closed by the rules, or gone without a word
        except* Unavailable:
            await self.close(Close.STORE_UNAVAILABLE, "the store cannot be read now")
        except* Exception:  # noqa: BLE001 - the gateway's outer edge
            _log.exception("a connection failed")
            await self.close(Close.INTERNAL, "internal error")
        finally:
            for follower in self._followers.values():
                follower.close()

    @property
    def user(self) -> UserContext | None:
        """Whose it is, once that is known."""
        return self.connection.user

    @property
    def device(self) -> str | None:
        """The device that it says it is, if it says."""
        return self.connection.device

    def tick(self) -> None:
        """Hear that about a second has passed."""
        since = self._sending_since
        if since is not None and self._now() - since > self._backend.pace.send:
            self.leave(Close.SLOW, "the client does not read")
        self._order(self.connection.tick(self._now(), self._backend.clock.now()))

    def drain(self, within_ms: int) -> None:
        """Tell the client to go elsewhere."""
        self._order(self.connection.drain(within_ms))

    def leave(self, code: Close, reason: str) -> None:
        """End the connection from outside."""
        self._order(self.connection.close(code, reason))

    async def carry(self, effects: Sequence[Effect]) -> None:
        """Carry out what the rules decided, in order."""
        for effect in effects:
            match effect:
                case Send(message):
                    await self._write(message)
                case CloseWith(code, reason):
                    await self.close(code, reason)
                    raise _Ended
                case Leave(stream):
                    self._unfollow(stream)
                case Remember(device, positions):
                    self._backend.positions.acknowledge(self._user, device, positions)
                    self._sample.acknowledged(positions, self._now())
                case Miscounted(mismatch):
                    _count(self._backend.metrics, mismatch)
                case _:
                    await self.carry(await self._report(effect))

    async def _report(self, question: Authenticate | Carry | Follow) -> list[Effect]:
        """Do what the rules ask for, and tell them what came of it."""
        match question:
            case Authenticate(ticket, token):
                return await self._authenticate(ticket, token)
            case Carry(command):
                return await self._accept(command)
            case Follow():
                return await self._follow(question)

    # -- in ----------------------------------------------------------------------------------

    async def _enter(self, headers: dict[str, str], query: bytes) -> None:
        """Take credentials from the headers, if there are any; refuse them in the address."""
        if b"token=" in query or b"ticket=" in query:
            error = InvalidInput("token_in_url", "Never put a token in an address; it is logged.")
            await self.carry(self.connection.refused(error))
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if not token:
            return
        if scheme.lower() != "bearer":
            error = InvalidInput("token_invalid", "Send `Authorization: Bearer ...`.")
            await self.carry(self.connection.refused(error))
        self.connection.introduced()
        await self.carry(await self._authenticate(None, token.strip(), greet=True))

    async def _read(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return
            await self.carry(self.connection.receive(message.get("text"), self._now()))
            self._wake()  # an acknowledgement may have opened the window

    async def _authenticate(
        self, ticket: str | None, token: str | None, *, greet: bool = False
    ) -> list[Effect]:
        identity = self._backend.identity
        try:
            if ticket is not None:
                user, expires_at = await identity.redeem(ticket), float("inf")
            else:
                user = await identity.authenticate(token or "")
                expires_at = identity.expires_at(token or "")
        except Unavailable:
            raise  # says nothing about the credentials
        except TidingsError as error:
            return self.connection.refused(error)
        if self.connection.user is None and (full := await self._presence.admit(self, user)):
            return self.connection.close(*full)
        if greet:
            return self.connection.opened(user, expires_at)
        return self.connection.authenticated(user, expires_at)

    async def _accept(self, command: Any) -> list[Effect]:
        try:
            await self._backend.identity.check(self._user)
            receipt = await self._backend.router.accept(self._user, command)
        except TidingsError as error:
            return self._failed(error, command.id)
        return self.connection.accepted(receipt)

    async def _follow(self, question: Follow) -> list[Effect]:
        if question.greeting:
            self._presence.replace(self)
            self._work(self._presence.settle(self))
        effects: list[Effect] = []
        statuses: list[StreamStatus] = []
        for wanted in question.subscriptions:
            try:
                status = await self._follow_one(wanted)
                statuses.append(status)
                if question.asked:
                    effects.append(followed(wanted.cursor, status))
            except Unavailable:
                raise  # says nothing about the stream: the client comes back with its cursor
            except TidingsError as error:
                self._backend.metrics.refusals.labels(error.code).inc()
                statuses.append(not_followed(wanted.stream, error))
                if not question.greeting:
                    effects += self.connection.not_followed(wanted.stream, error, self._now())
        self._wake()
        return self.connection.greeted(statuses) if question.greeting else effects

    async def _follow_one(self, wanted: Subscription) -> StreamStatus:
        if len(self._followers) >= SUBSCRIPTIONS_MAX and wanted.stream not in self._followers:
            raise too_many_streams()
        follower = await self._backend.feed.follow(
            self._user, wanted.stream, wanted.cursor, self._wake
        )
        self._unfollow(wanted.stream)
        head = self._backend.feed.head(wanted.stream)
        self._followers[wanted.stream] = follower
        self._catching_up[wanted.stream] = head
        self.connection.flow.follow(wanted.stream, follower.after)
        return StreamStatus(wanted.stream, ok=True, start=follower.after + 1, head=head)

    def _failed(self, error: TidingsError, ref: str) -> list[Effect]:
        self._backend.metrics.refusals.labels(error.code).inc()
        return self.connection.failed(error, ref[:ECHO_CHARACTERS_MAX], self._now())

    def _unfollow(self, stream: str) -> None:
        follower = self._followers.pop(stream, None)
        self._catching_up.pop(stream, None)
        if follower is not None:
            follower.close()

    # -- out ---------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Hear that there may be something to send: look once in the loop's next turn."""
        if not self._woken:
            self._woken = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Send what memory holds of the streams; leave to the pump what must be waited for."""
        self._woken = False
        if self._over or self.connection.closed or not self.connection.welcomed:
            return
        self._is_more = True
        if self._pumping:
            return
        try:
            if not all(map(self._flush_stream, tuple(self._followers.values()))):
                self._pumping = True
                self._work(self._pump())
        except OSError:
            return  # it is over, as the reader hears as well

    def _flush_stream(self, follower: Follower) -> bool:
        """Send a stream's entries while the window is open; return False if that needs waiting."""
        stream = follower.stream
        if stream in self._catching_up:
            return False
        while (credit := self.connection.flow.credit()) > 0 and follower.behind:
            if not self._outlet.writable.is_set():
                return False
            entries = follower.take(min(credit, READ_EVENTS), self.connection.flow.room())
            if entries is None:
                return False
            for send in self.connection.events(stream, entries, now := self._now()):
                self._outlet.write(send.message)
            self._sample.sent(stream, entries, now)
        return True

    async def _pump(self) -> None:
        """Send what the streams hold after the client's places, while its window is open."""
        while self._is_more:
            self._is_more = False
            sent = True
            while sent:
                sent = False
                for stream, follower in list(self._followers.items()):
                    sent |= await self._pump_stream(stream, follower)
        self._pumping = False

    async def _pump_stream(self, stream: str, follower: Follower) -> bool:
        credit = self.connection.flow.credit()
        entries: list[Entry] = []
        if credit > 0 and follower.behind:
            try:
                entries = await follower.read(min(credit, READ_EVENTS), self.connection.flow.room())
            except (Conflict, NotFound) as error:
                self._unfollow(stream)
                await self.carry(self.connection.ended(stream, error))
                return True
        if self._followers.get(stream) is not follower:
            return True  # subscribed anew meanwhile, from another place
        if entries:
            await self.carry(self.connection.events(stream, entries, self._now()))
            if stream not in self._catching_up:
                self._sample.sent(stream, entries, self._now())
        if follower.after >= self._catching_up.get(stream, follower.after + 1):
            del self._catching_up[stream]
            await self.carry(self.connection.live(stream, follower.after))
        return bool(entries)

    def _order(self, effects: list[Effect]) -> None:
        """Carry out what came from outside; nobody waits for a client that does not read."""
        for effect in effects:
            if isinstance(effect, Send):
                with suppress(OSError):
                    self._outlet.write(effect.message)
            elif not self._over:
                self._work(self.carry([effect]))

    def _work(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside the reading; what goes wrong in it ends the connection."""

        def done(task: asyncio.Task[None]) -> None:
            self._working.discard(task)
            self._over |= task.cancelled() or task.exception() is not None

        task = self._tasks.create_task(work)
        self._working.add(task)
        task.add_done_callback(done)

    async def _write(self, message: bytes) -> None:
        if not self._outlet.writable.is_set():
            self._sending_since = self._now()
            await self._outlet.writable.wait()
            self._sending_since = None
        self._outlet.write(message)

    async def close(self, code: Close, reason: str) -> None:
        """Close the socket; if the other side was faster, or does not read, so be it."""
        message = {"type": "websocket.close", "code": int(code), "reason": reason[:120]}
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._send(message)
        except (RuntimeError, OSError, TimeoutError):
            return

    @property
    def _user(self) -> UserContext:
        assert self.connection.user is not None  # noqa: S101 - the rules let nobody else through
        return self.connection.user

    def _now(self) -> float:
        return self._backend.clock.monotonic()


class _Ended(Exception):
    """The connection was closed by the rules."""


def _count(metrics: Metrics, mismatch: Mismatch) -> None:
    """Take note that a run did not reach a client whole."""
    metrics.delivery_mismatches.inc()
    _log.error(
        "run %s did not reach a client whole: expected %s, got %s",
        mismatch.run_id[:ECHO_CHARACTERS_MAX],
        mismatch.expected,
        mismatch.got,
    )
