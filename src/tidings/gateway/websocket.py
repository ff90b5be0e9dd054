"""The WebSocket edge: carries frames in and events out; `protocol.connection` decides."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from tidings.domain.context import UserContext
from tidings.domain.errors import InvalidInput, NotFound, TidingsError, Unavailable
from tidings.domain.ports import Clock, IdSource
from tidings.events.feed import Feed, Follower
from tidings.events.positions import Positions
from tidings.health.metrics import Metrics
from tidings.identity.service import Identity
from tidings.protocol import connection as rules
from tidings.protocol.closing import Close
from tidings.protocol.connection import Authenticate, Carry, Connection, Effect, Follow
from tidings.protocol.frames import (
    ECHO_CHARACTERS_MAX,
    SUBPROTOCOL,
    SUBSCRIPTIONS_MAX,
    Subscription,
)
from tidings.router.accept import Router

TICK_SECONDS = 1.0
SESSION_CHECK_TICKS = 2
DRAIN_SECONDS = 5.0
SEND_SECONDS_MAX = 30.0
READ_EVENTS = 128
SOCKETS_MAX = 10_000
SOCKETS_PER_USER_MAX = 100

_log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
SendMessage = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Sockets:
    """The ASGI application at `/ws`, and the one wheel that tells all sockets the time."""

    def __init__(
        self,
        identity: Identity,
        router: Router,
        feed: Feed,
        positions: Positions,
        metrics: Metrics,
        clock: Clock,
        ids: IdSource,
        *,
        origins: frozenset[str],
    ) -> None:
        self.identity = identity
        self.router = router
        self.feed = feed
        self.positions = positions
        self.metrics = metrics
        self.clock = clock
        self.ids = ids
        self._origins = origins
        self._sockets: set[Socket] = set()
        self._ticks = 0
        self._left = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: SendMessage) -> None:
        """Carry one connection from its upgrade to its close."""
        await receive()
        offered = scope.get("subprotocols", [])
        subprotocol = SUBPROTOCOL if SUBPROTOCOL in offered else None
        await send({"type": "websocket.accept", "subprotocol": subprotocol})
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        socket = Socket(self, receive, send)
        if not self._is_welcome(headers):
            await socket.close(Close.FORBIDDEN, "origin")
            return
        if len(self._sockets) >= SOCKETS_MAX:
            await socket.close(Close.OVERLOADED, "too many connections")
            return
        self._sockets.add(socket)
        self.metrics.sockets.inc()
        try:
            await socket.serve(headers, scope.get("query_string", b""))
        finally:
            self._sockets.discard(socket)
            self._left.set()
            self.metrics.sockets.dec()

    async def run(self) -> None:
        """Turn the wheel, for ever: silence, stalls, expiry, ended sessions, positions."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._ticks += 1
            if self._ticks % SESSION_CHECK_TICKS == 0:
                await self._end_dead_sessions()
            for socket in list(self._sockets):
                socket.tick()
            try:
                await self.positions.store()
            except Unavailable:
                _log.warning("positions were not stored; devices will acknowledge again")

    async def drain(self) -> None:
        """Send every client to the next server, and wait until they have gone, but not for long."""
        for socket in list(self._sockets):
            socket.leave(Close.DRAIN, "the server restarts")
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while self._sockets:
                    self._left.clear()
                    await self._left.wait()

    def count(self, user_id: str) -> int:
        """Return how many sockets a user has open."""
        return sum(
            s.connection.user is not None and s.connection.user.user_id == user_id
            for s in self._sockets
        )

    async def _end_dead_sessions(self) -> None:
        users = {s.connection.user for s in self._sockets if s.connection.user is not None}
        try:
            dead = await self.identity.ended(users)
        except Unavailable:
            return
        for socket in list(self._sockets):
            if socket.connection.user in dead:
                socket.leave(Close.AUTH_FAILED, "session_revoked")

    def _is_welcome(self, headers: dict[str, str]) -> bool:
        """Check the page's origin: our own, or one of the allow-list; programs send none."""
        origin = headers.get("origin")
        if origin is None or origin in self._origins:
            return True
        return urlsplit(origin).netloc == headers.get("host") and "://" in origin


class Socket:
    """One connection: a reader, a pump, and the rules between them."""

    def __init__(self, sockets: Sockets, receive: Receive, send: SendMessage) -> None:
        self.connection = Connection(sockets.ids.new("k"), sockets.clock.monotonic())
        self._sockets = sockets
        self._receive = receive
        self._send = send
        self._followers: dict[str, Follower] = {}
        self._catching_up: dict[str, int] = {}
        self._wake = asyncio.Event()
        self._leaving: tuple[Close, str] | None = None
        self._ticked = asyncio.Event()
        self._sending_since: float | None = None

    async def serve(self, headers: dict[str, str], query: bytes) -> None:
        """Serve until either side ends it."""
        try:
            async with asyncio.TaskGroup() as tasks:
                others = [tasks.create_task(self._pump()), tasks.create_task(self._watch())]
                await self._enter(headers, query)
                await self._read()
                for task in others:
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

    def tick(self) -> None:
        """Hear that about a second has passed."""
        since = self._sending_since
        if since is not None and self._now() - since > SEND_SECONDS_MAX:
            self.leave(Close.SLOW, "the client does not read")
        self._ticked.set()

    def leave(self, code: Close, reason: str) -> None:
        """End the connection from outside."""
        self._leaving = (code, reason)
        self._ticked.set()

    async def carry(self, effects: list[Effect]) -> None:
        """Carry out what the rules decided, in order."""
        for effect in effects:
            match effect:
                case rules.Send(message):
                    await self._write(message)
                case rules.CloseWith(code, reason):
                    await self.close(code, reason)
                    raise _Ended
                case rules.Leave(stream):
                    self._unfollow(stream)
                case rules.Remember(device, positions):
                    self._sockets.positions.acknowledge(self._user, device, positions)
                case _:
                    await self.carry(await self._report(effect))

    async def _report(self, question: Authenticate | Carry | Follow) -> list[Effect]:
        """Do what the rules ask for, and tell them what came of it."""
        match question:
            case Authenticate(ticket, token):
                return await self._authenticate(ticket, token)
            case Carry(command):
                return await self._accept(command)
            case Follow(subscriptions, greeting):
                return await self._follow(subscriptions, greeting=greeting)

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
        await self.carry(await self._authenticate(None, token.strip(), greet=True))

    async def _read(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is None:
                await self.carry(self.connection.receive_binary())
            else:
                await self.carry(self.connection.receive(text, self._now()))
            self._wake.set()  # an acknowledgement may have opened the window

    async def _authenticate(
        self, ticket: str | None, token: str | None, *, greet: bool = False
    ) -> list[Effect]:
        identity = self._sockets.identity
        try:
            if ticket is not None:
                user, expires_at = await identity.redeem(ticket), float("inf")
            else:
                user = await identity.authenticate(token or "")
                expires_at = identity.expires_at(token or "")
        except TidingsError as error:
            return self.connection.refused(error)
        if (
            self.connection.user is None
            and self._sockets.count(user.user_id) >= SOCKETS_PER_USER_MAX
        ):
            return self.connection.close(Close.ABUSE, "too many connections of one user")
        if greet:
            return self.connection.opened(user, expires_at)
        return self.connection.authenticated(user, expires_at)

    async def _accept(self, command: Any) -> list[Effect]:
        try:
            await self._sockets.identity.check(self._user)
            receipt = await self._sockets.router.accept(self._user, command)
        except TidingsError as error:
            return self._failed(error, command.id)
        return self.connection.accepted(receipt)

    async def _follow(
        self, subscriptions: tuple[Subscription, ...], *, greeting: bool
    ) -> list[Effect]:
        effects: list[Effect] = []
        results: list[dict[str, Any]] = []
        for wanted in subscriptions:
            try:
                results.append(await self._follow_one(wanted))
            except TidingsError as error:
                results.append(_refusal(wanted.stream, error))
                if not greeting:
                    effects += self._failed(error, wanted.stream)
        self._wake.set()
        return self.connection.greeted(results) if greeting else effects

    async def _follow_one(self, wanted: Subscription) -> dict[str, Any]:
        if len(self._followers) >= SUBSCRIPTIONS_MAX and wanted.stream not in self._followers:
            raise rules.too_many_streams()
        follower = await self._sockets.feed.follow(
            self._user, wanted.stream, wanted.cursor, self._wake.set
        )
        self._unfollow(wanted.stream)
        head = self._sockets.feed.head(wanted.stream)
        self._followers[wanted.stream] = follower
        self._catching_up[wanted.stream] = head
        self.connection.followed(wanted.stream, follower.after)
        return {"stream": wanted.stream, "ok": True, "from": follower.after + 1, "head": head}

    def _failed(self, error: TidingsError, ref: str) -> list[Effect]:
        self._sockets.metrics.refusals.labels(error.code).inc()
        return self.connection.failed(error, ref[:ECHO_CHARACTERS_MAX], self._now())

    def _unfollow(self, stream: str) -> None:
        follower = self._followers.pop(stream, None)
        self._catching_up.pop(stream, None)
        if follower is not None:
            follower.close()

    # -- out ---------------------------------------------------------------------------------

    async def _pump(self) -> None:
        """Send what the streams hold after the client's places, while its window is open."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while await self._pump_once():
                pass

    async def _pump_once(self) -> bool:
        sent = False
        for stream, follower in list(self._followers.items()):
            sent |= await self._pump_stream(stream, follower)
        return sent

    async def _pump_stream(self, stream: str, follower: Follower) -> bool:
        credit = self.connection.credit()
        entries: list[tuple[int, bytes]] = []
        if credit > 0 and follower.behind:
            try:
                entries = await follower.read(min(credit, READ_EVENTS))
            except NotFound:
                self._unfollow(stream)
                return False
        if self._followers.get(stream) is not follower:
            return True  # subscribed anew meanwhile, from another place
        if entries:
            await self.carry(self.connection.events(stream, entries, self._now()))
        if follower.after >= self._catching_up.get(stream, follower.after + 1):
            del self._catching_up[stream]
            await self.carry(self.connection.live(stream, follower.after))
        return bool(entries)

    async def _watch(self) -> None:
        """Act on the wheel: leave when told to, else let the rules look at the time."""
        while True:
            await self._ticked.wait()
            self._ticked.clear()
            if self._leaving is not None:
                await self.carry(self.connection.close(*self._leaving))
            await self.carry(self.connection.tick(self._now(), self._sockets.clock.now()))

    async def _write(self, message: bytes) -> None:
        self._sending_since = self._now()
        await self._send({"type": "websocket.send", "text": message.decode()})
        self._sending_since = None

    async def close(self, code: Close, reason: str) -> None:
        """Close the socket; if the other side was faster, so be it."""
        try:
            await self._send({"type": "websocket.close", "code": int(code), "reason": reason[:120]})
        except (RuntimeError, OSError):
            return

    @property
    def _user(self) -> UserContext:
        assert self.connection.user is not None  # noqa: S101 - the rules let nobody else through
        return self.connection.user

    def _now(self) -> float:
        return self._sockets.clock.monotonic()


class _Ended(Exception):
    """The connection was closed by the rules."""


def _refusal(stream: str, error: TidingsError) -> dict[str, Any]:
    refusal = {"stream": stream, "ok": False, "code": error.code, "message": error.message}
    if error.code in {"cursor_diverged", "cursor_trimmed"} and stream.startswith("thread:"):
        refusal["snapshot"] = f"/api/threads/{stream.removeprefix('thread:')}/snapshot"
    return refusal
