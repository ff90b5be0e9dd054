"""The warm tier, spared: a store that keeps failing is left alone, and tried again within seconds.

Reading and writing are two things to fail: a store that only cannot write is still read.
"""

import asyncio
from typing import TypeVar

from tidings.domain.context import SERVER, Scope, ServerScope
from tidings.domain.errors import Unavailable, Undecided
from tidings.domain.ports import Clock
from tidings.domain.tiers import TierHealth, TierState
from tidings.resilience.breaker import Breaker, BreakerRules, BreakerState, Passage
from tidings.storage.warm.port import Database, Transaction, Work

T = TypeVar("T")

SLOW_SECONDS = 5.0
STORE_RULES = BreakerRules(
    window_seconds=10.0,
    calls_min=10,
    calls_max=500,
    open_seconds=1.0,
    open_seconds_max=5.0,
    probe_seconds_max=15.0,
)
FAULTS = frozenset({"storage_unavailable", "storage_busy"})
"""What is the store's own fault, and may pass when it is left alone. A full disk is neither: it
answers at once, and a user who deletes something makes room."""


class SparedDatabase:
    """A database that refuses at once while the one behind it keeps failing or is slow.

    What is told of one user again and again says nothing of the store: it takes the failures of
    another one, or of the server's own duties, to leave it alone. Nor do answers that are lost on
    their way: a store that is gone shows when the next connection to it is made.

    Raises:
        Unavailable: `storage_unavailable` with the time after which it is tried again; or what the
            database behind it raises.
    """

    def __init__(self, inner: Database, clock: Clock) -> None:
        self.name = "warm"
        self._inner = inner
        self._clock = clock
        self._reading = _Side(Breaker(STORE_RULES))
        self._writing = _Side(Breaker(STORE_RULES))

    async def write(self, scope: Scope, work: Work[T]) -> T:
        async with _Call(self._writing, scope, self._clock):
            return await self._inner.write(scope, work)

    async def read(self, scope: Scope, work: Work[T]) -> T:
        async with _Call(self._reading, scope, self._clock):
            return await self._inner.read(scope, work)

    def states(self) -> dict[str, BreakerState]:
        """Return the states of both breakers, by `read` and `write`."""
        now = self._clock.monotonic()
        return {
            "read": self._reading.breaker.state(now),
            "write": self._writing.breaker.state(now),
        }

    async def health(self) -> TierHealth:
        """Read, and say how long it took and which of reading and writing rests."""
        begun = self._clock.monotonic()
        try:
            await self.read(SERVER, _look)
        except Unavailable as error:
            meaning = "Nothing new is taken or kept; what is on the screen stays."
            return TierHealth(self.name, TierState.DOWN, error.message, None, meaning)
        seconds = self._clock.monotonic() - begun
        resting = [
            side for side, state in self.states().items() if state is not BreakerState.CLOSED
        ]
        if "write" in resting:
            meaning = "Nothing new is taken for the moment; what there is can be read."
            return TierHealth(self.name, TierState.DOWN, "writing rests", seconds, meaning)
        if resting or seconds >= SLOW_SECONDS:
            detail = "reading recovers" if resting else "a look took too long"
            meaning = "Everything takes longer than usual."
            return TierHealth(self.name, TierState.DEGRADED, detail, seconds, meaning)
        return TierHealth(self.name, TierState.OK, "readable and writable", seconds, "")


class _Side:
    """Reading, or writing: its breaker, and the user of whom a failure was told last."""

    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self._told = ""

    def failed(self, now: float, passage: Passage, scope: Scope) -> None:
        """Take note of a failure, unless the one before it was the same user's."""
        if isinstance(scope, ServerScope) or scope.user_id != self._told:
            self._told = "" if isinstance(scope, ServerScope) else scope.user_id
            self.breaker.failed(now, passage)
        else:
            self.breaker.abandoned(now, passage)


class _Call:
    """One call: let in or refused, and what it teaches."""

    def __init__(self, side: _Side, scope: Scope, clock: Clock) -> None:
        self._side = side
        self._scope = scope
        self._clock = clock

    async def __aenter__(self) -> None:
        self._begun = self._clock.monotonic()
        self._passage = self._side.breaker.admit(self._begun)
        if self._passage is Passage.REFUSED:
            raise Unavailable(
                "storage_unavailable",
                "The store fails at present; try again in a moment.",
                retry_after_seconds=self._side.breaker.wait_seconds(self._begun),
            )

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        now, passage = self._clock.monotonic(), self._passage
        is_mute = isinstance(error, asyncio.CancelledError | Undecided)
        is_fault = isinstance(error, Unavailable) and error.code in FAULTS and not is_mute
        if is_fault or now - self._begun >= SLOW_SECONDS:
            self._side.failed(now, passage, self._scope)
        elif is_mute:
            self._side.breaker.abandoned(now, passage)
        else:
            self._side.breaker.succeeded(now, passage)


async def _look(tx: Transaction) -> None:
    await tx.execute("select epoch from store")
