"""Who is connected here, over whatever transport, and the one wheel that tells them the time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Protocol

from tidings.domain.context import UserContext
from tidings.domain.errors import Unavailable
from tidings.events.positions import Positions
from tidings.identity.service import Identity
from tidings.protocol.closing import Close

TICK_SECONDS = 1.0
SESSION_CHECK_TICKS = 2
ADMISSIONS_PER_SECOND_MAX = 500
ADMISSIONS_AT_ONCE_MAX = 1_000
DRAIN_WINDOW_MS_MIN = 1_000
DRAIN_SECONDS = 4.0
"""How long a client may stay after the time in which it was asked to leave."""

_log = logging.getLogger(__name__)


class Listener(Protocol):
    """One open connection: it is told the time, and when to go. No method may wait."""

    @property
    def user(self) -> UserContext | None:
        """Whose it is, once that is known."""
        ...

    @property
    def device(self) -> str | None:
        """The device that it says it is, if it says."""
        ...

    def tick(self) -> None:
        """Hear that about a second has passed."""
        ...

    def drain(self, within_ms: int) -> None:
        """Hear that the server stops, and within which time to go elsewhere."""
        ...

    def leave(self, code: Close, reason: str) -> None:
        """End, now."""
        ...


class Presence:
    """The open connections of this process."""

    def __init__(
        self,
        identity: Identity,
        positions: Positions,
        *,
        tick_seconds: float = TICK_SECONDS,
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        self.draining = False
        self._identity = identity
        self._positions = positions
        self._tick_seconds = tick_seconds
        self._drain_seconds = drain_seconds
        self._listeners: set[Listener] = set()
        self._left = asyncio.Event()

    def __len__(self) -> int:
        return len(self._listeners)

    def enter(self, listener: Listener) -> None:
        """Take a connection in."""
        self._listeners.add(listener)

    def leave(self, listener: Listener) -> None:
        """Forget a connection that has ended."""
        self._listeners.discard(listener)
        self._left.set()

    def count(self, user_id: str) -> int:
        """Return how many connections a user has open."""
        return sum(1 for _ in self._of(user_id))

    def replace(self, newcomer: Listener) -> None:
        """End older connections of the same device of the same user."""
        if newcomer.user is None or newcomer.device is None:
            return
        for older in list(self._of(newcomer.user.user_id)):
            if older is not newcomer and older.device == newcomer.device:
                older.leave(Close.REPLACED, "the device has connected again")

    async def run(self) -> None:
        """Turn the wheel, for ever: silence, stalls, expiry, ended sessions, positions.

        None of them waits for another: a slow store stops neither heartbeats nor revocations.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._every(1, self._tell_time))
            tasks.create_task(self._every(SESSION_CHECK_TICKS, self._end_dead_sessions))
            tasks.create_task(self._every(1, self._store_positions))

    async def _every(self, ticks: int, act: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(ticks * self._tick_seconds)
            await act()

    async def _tell_time(self) -> None:
        for listener in list(self._listeners):
            listener.tick()

    async def _store_positions(self) -> None:
        try:
            await self._positions.store()
        except Unavailable:
            _log.warning("positions were not stored; the next turn tries again")

    async def drain(self) -> None:
        """Ask every client to leave, spread over a time that a next server can bear; then insist.

        Delivery goes on meanwhile, so that a client can be elsewhere before it leaves.
        """
        self.draining = True
        within_ms = max(DRAIN_WINDOW_MS_MIN, 1000 * len(self) // ADMISSIONS_PER_SECOND_MAX)
        for listener in list(self._listeners):
            listener.drain(within_ms)
        await self._all_left(within_ms / 1000 + self._drain_seconds)
        for listener in list(self._listeners):
            listener.leave(Close.DRAIN, "the server stops")
        await self._all_left(self._drain_seconds)

    async def _all_left(self, seconds: float) -> None:
        """Wait until nobody is connected, but not longer than so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._listeners:
                    self._left.clear()
                    await self._left.wait()

    async def _end_dead_sessions(self) -> None:
        users = {listener.user for listener in self._listeners if listener.user is not None}
        try:
            dead = await self._identity.ended(users)
        except Unavailable:
            return
        for listener in list(self._listeners):
            if listener.user in dead:
                listener.leave(Close.AUTH_FAILED, "session_revoked")

    def _of(self, user_id: str) -> Iterable[Listener]:
        return (s for s in self._listeners if s.user is not None and s.user.user_id == user_id)
