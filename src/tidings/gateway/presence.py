"""Who is connected here, over whatever transport, and the one wheel that tells them the time."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

from tidings.domain.context import UserContext
from tidings.domain.errors import Unavailable
from tidings.events.positions import Positions
from tidings.health.outage import Outage
from tidings.identity.elsewhere import DeviceArrived, Elsewhere, SessionsEnded
from tidings.identity.service import Identity
from tidings.protocol.closing import Close

TICK_SECONDS = 1.0
SESSION_CHECK_TICKS = 2
DEVICE_CHECK_TICKS = 15
SOCKETS_PER_USER_MAX = 100
ADMISSIONS_PER_SECOND_MAX = 500
ADMISSIONS_AT_ONCE_MAX = 1_000
DRAIN_WINDOW_MS_MIN = 1_000
DRAIN_SECONDS = 4.0
"""How long a client may stay after the time in which it was asked to leave."""

_REPLACED = (Close.REPLACED, "the device has connected again")

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
        elsewhere: Elsewhere,
        *,
        tick_seconds: float = TICK_SECONDS,
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        self.draining = False
        self._identity = identity
        self._positions = positions
        self._tick_seconds = tick_seconds
        self._drain_seconds = drain_seconds
        self._elsewhere = elsewhere
        self._listeners: set[Listener] = set()
        self._users: dict[Listener, str] = {}
        self._of_user: defaultdict[str, set[Listener]] = defaultdict(set)
        self._claims: dict[Listener, int | None] = {}
        self._left = asyncio.Event()
        self._suspects: set[str] = set()
        self._suspected = asyncio.Event()
        self._outage = Outage(_log, "places of clients are not stored until this is over")
        elsewhere.listen(self._on_arrived, self._on_ended)

    def __len__(self) -> int:
        return len(self._listeners)

    def enter(self, listener: Listener) -> None:
        """Take a connection in."""
        self._listeners.add(listener)

    def leave(self, listener: Listener) -> None:
        """Forget a connection that has ended."""
        self._listeners.discard(listener)
        self._left.set()
        if (user_id := self._users.pop(listener, None)) is None:
            return
        self._of_user[user_id].remove(listener)
        if not self._of_user[user_id]:
            del self._of_user[user_id]
        if listener in self._claims:
            del self._claims[listener]
            self._elsewhere.leave(user_id)

    def count(self, user_id: str) -> int:
        """Return how many connections a user has open."""
        return len(self._of_user.get(user_id, ()))

    async def admit(self, listener: Listener, user: UserContext) -> tuple[Close, str] | None:
        """Note whose a connection is; or return why the user may not have it, here or anywhere."""
        if wait := await self._elsewhere.connect(user.user_id):
            return Close.OVERLOADED, f"retry_after_ms={round(wait * 1000)}"
        if self.count(user.user_id) >= SOCKETS_PER_USER_MAX:
            return Close.ABUSE, "too many connections of one user"
        self._users[listener] = user.user_id
        self._of_user[user.user_id].add(listener)
        return None

    def replace(self, newcomer: Listener) -> None:
        """End older connections of the same device of the same user here."""
        if newcomer.user is None or newcomer.device is None:
            return
        for older in self._of(newcomer.user.user_id):
            if older is not newcomer and older.device == newcomer.device:
                older.leave(*_REPLACED)

    async def settle(self, newcomer: Listener) -> None:
        """End them at other servers too, and have the newcomer end when a newer one comes there."""
        if newcomer.device is None:
            return
        user_id = self._users[newcomer]
        self._claims[newcomer] = None
        self._elsewhere.attend(user_id)
        claim = await self._elsewhere.arrive(user_id, newcomer.device)
        if newcomer in self._claims:
            self._claims[newcomer] = claim

    async def run(self) -> None:
        """Turn the wheel, for ever: silence, stalls, expiry, ended sessions, positions.

        None of them waits for another: a slow store stops neither heartbeats nor revocations.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._every(1, self._tell_time))
            tasks.create_task(self._every(SESSION_CHECK_TICKS, self._end_dead_sessions))
            tasks.create_task(self._every(DEVICE_CHECK_TICKS, self._end_replaced))
            tasks.create_task(self._follow_suspicions())
            tasks.create_task(self._every(1, self._store_positions))

    async def _every(self, ticks: int, act: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(ticks * self._tick_seconds)
            await act()

    async def _tell_time(self) -> None:
        for listener in list(self._listeners):
            listener.tick()

    async def _store_positions(self) -> None:
        with self._outage:
            await self._positions.store()

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

    async def _follow_suspicions(self) -> None:
        """Look at once at the sessions of which a hint says that they may have ended."""
        while True:
            await self._suspected.wait()
            self._suspected.clear()
            suspects, self._suspects = self._suspects, set()
            await self._end_dead(
                {s.user for user_id in suspects for s in self._of(user_id) if s.user}
            )

    async def _end_dead_sessions(self) -> None:
        await self._end_dead({s.user for s in self._listeners if s.user})

    async def _end_dead(self, users: set[UserContext]) -> None:
        try:
            dead = await self._identity.ended(users)
        except Unavailable:
            return  # the next turn tries again
        for listener in list(self._listeners):
            if listener.user in dead:
                listener.leave(Close.AUTH_FAILED, "session_revoked")

    async def _end_replaced(self) -> None:
        """End those whose device is elsewhere by now, if no hint said so."""
        claims = {s: claim for s, claim in self._claims.items() if claim}
        devices = [(self._users[listener], str(listener.device)) for listener in claims]
        newest = await self._elsewhere.newest(devices)
        for (listener, claim), newer in zip(claims.items(), newest, strict=True):
            if newer > claim:
                listener.leave(*_REPLACED)

    def _on_arrived(self, note: DeviceArrived) -> None:
        """End what is older; who waits for a place in the order yet may be newer, and stays."""
        for listener in self._of(note.user_id):
            claim = self._claims.get(listener)
            if listener.device == note.device and claim is not None and claim < note.claim:
                listener.leave(*_REPLACED)

    def _on_ended(self, note: SessionsEnded) -> None:
        self._suspects.add(note.user_id)
        self._suspected.set()

    def _of(self, user_id: str) -> list[Listener]:
        return list(self._of_user.get(user_id, ()))
