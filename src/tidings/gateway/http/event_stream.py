"""Server-sent events: one stream of the log, from a cursor, for as long as the reader stays."""

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from tidings.domain.context import UserContext
from tidings.domain.cursors import cursor_of
from tidings.domain.errors import Conflict, LimitExceeded, NotFound, Unavailable
from tidings.domain.ports import Clock
from tidings.events.feed import Feed, Follower
from tidings.events.ranges import Entry
from tidings.gateway.presence import Presence
from tidings.gateway.sockets import SOCKETS_MAX
from tidings.protocol.closing import Close
from tidings.protocol.server_frames import (
    Drain,
    ErrorFrame,
    Live,
    encode,
    reset,
)

QUIET_TICKS_MAX = 15
RETRY_MS = 1_000


class _Place(msgspec.Struct):
    """As much of an event as its cursor takes."""

    epoch: str
    offset: int
    event_id: str


_place = msgspec.json.Decoder(_Place)


class EventStream:
    """One reader of one stream. Reads the log only as fast as the reader takes it.

    Every event has its cursor as `id`, which the reader sends back as `Last-Event-ID`. Beside
    events there are `live`, `reset`, `drain` and `error`, named by `event:`.
    """

    device = None

    def __init__(
        self, presence: Presence, clock: Clock, context: UserContext, expires_at: float
    ) -> None:
        self.user: UserContext | None = context
        self._presence = presence
        self._clock = clock
        self._context = context
        self._expires_at = expires_at
        self._woken = asyncio.Event()
        self._quiet_ticks = 0
        self._told: list[bytes] = []
        self._over = False

    async def open(self, feed: Feed, stream: str, position: str) -> "Flowing":
        """Return the answer that gives the stream from this position on, until it ends.

        Raises:
            LimitExceeded: `too_many_connections`.
            TidingsError: see `events.log.locate`.
        """
        if self._presence.draining:
            raise Unavailable("draining", "The server is stopping; connect again in a moment.")
        full = len(self._presence) >= SOCKETS_MAX
        if full or await self._presence.admit(self, self._context) is not None:
            raise LimitExceeded("too_many_connections", "Close some of your connections first.")
        try:
            follower = await feed.follow(self._context, stream, position, self._woken.set)
        except BaseException:
            self._presence.leave(self)
            raise
        self._presence.enter(self)
        return Flowing(self._flowing(follower, feed.head(stream)), lambda: self._close(follower))

    def _close(self, follower: Follower) -> None:
        follower.close()
        self._presence.leave(self)

    def tick(self) -> None:
        """Break the silence now and then, so that proxies and readers know that all is well."""
        if self._clock.now() > self._expires_at:
            self.leave(Close.TOKEN_EXPIRED, "token_expired")
        self._quiet_ticks += 1
        if self._quiet_ticks == QUIET_TICKS_MAX:  # once: it may be that nobody reads it
            self._tell(b": quiet\n\n")

    def drain(self, within_ms: int) -> None:
        """Tell the reader to come back, and end: it resumes from its last id."""
        self._tell(_named("drain", encode(Drain((0, within_ms)))))
        self._over = True

    def leave(self, code: Close, reason: str) -> None:
        """End; the reader is told why, once."""
        if self._over:
            return
        self._tell(_named("error", encode(ErrorFrame(reason, f"Closed with {int(code)}."))))
        self._over = True

    def _tell(self, chunk: bytes) -> None:
        self._told.append(chunk)
        self._woken.set()

    async def _flowing(self, follower: Follower, head: int) -> AsyncIterator[bytes]:
        yield b"retry: %d\n\n" % RETRY_MS
        if follower.after >= head:
            yield _named("live", encode(Live(follower.stream, follower.after)))
        while True:
            self._woken.clear()
            while follower.behind and not self._over:
                before = follower.after
                try:
                    entries = await follower.read()
                except (Conflict, NotFound) as error:
                    yield _named("reset", encode(reset(follower.stream, error)))
                    return
                self._quiet_ticks = 0
                yield b"".join(_event(entry) for entry in entries)
                if before < head <= follower.after:
                    yield _named("live", encode(Live(follower.stream, follower.after)))
            told, self._told = self._told, []
            self._quiet_ticks = 0 if told else self._quiet_ticks
            for chunk in told:
                yield chunk
            if self._over:
                return
            await self._woken.wait()


class Flowing(StreamingResponse):
    """Server-sent events; `close` is called at their end, even if they never began."""

    def __init__(self, chunks: AsyncIterator[bytes], close: Callable[[], None]) -> None:
        headers = {"X-Accel-Buffering": "no"}
        super().__init__(chunks, media_type="text/event-stream", headers=headers)
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._close()


def _event(entry: Entry) -> bytes:
    place = _place.decode(entry.frame)
    cursor = cursor_of(place.epoch, place.offset, place.event_id)
    return b"id: %b\ndata: %b\n\n" % (str(cursor).encode(), entry.frame)


def _named(name: str, frame: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), frame)
