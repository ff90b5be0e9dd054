"""Embedded hot tier: there is this process and no other."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from tidings.domain.errors import Unavailable
from tidings.domain.ports import Clock
from tidings.domain.tiers import TierHealth, TierState
from tidings.resilience.rates import Allowance, Rated
from tidings.storage.hot.port import N, T

USED_MAX = 100_000
CLAIMED_MAX = 100_000


class LocalTier:
    """How it is: as well as the process."""

    @property
    def name(self) -> str:
        """Which tier it is."""
        return "hot"

    async def health(self) -> TierHealth:
        """Nothing can be wrong with it."""
        return TierHealth(self.name, TierState.OK, "in this process", 0.0, "")


class LocalHints:
    """Calls listeners directly, in the order they asked."""

    def __init__(self) -> None:
        self._listeners: defaultdict[type, list[Callable[[Any], None]]] = defaultdict(list)

    def publish(self, note: object) -> None:
        for listener in self._listeners[type(note)]:
            listener(note)

    def listen(self, kind: type[N], listener: Callable[[N], None]) -> None:
        self._listeners[kind].append(listener)

    def hear(self, kind: type[T], listener: Callable[[T], None]) -> None:
        self._listeners[kind].append(listener)

    def attend(self, user_id: str) -> None:
        """Nothing comes from elsewhere."""

    def leave(self, user_id: str) -> None:
        """Nothing comes from elsewhere."""


class LocalOnce:
    """The keys that were used, oldest first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._used: dict[str, float] = {}

    async def first(self, key: str, seconds: float) -> bool:
        now = self._clock.monotonic()
        self._forget_expired(now)
        if key in self._used:
            return False
        if len(self._used) >= USED_MAX:
            raise Unavailable("tickets_full", "Too many are connecting. Try again in a moment.")
        self._used[key] = now + seconds
        return True

    def _forget_expired(self, now: float) -> None:
        """Drop from the old end; keys of one lifetime expire in the order they were used."""
        while self._used:
            oldest = next(iter(self._used))
            if now < self._used[oldest]:
                return
            del self._used[oldest]


class LocalRates:
    """Counts what this process is asked to do."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rated: dict[Allowance, Rated] = {}

    async def take(self, allowance: Allowance, key: str) -> float:
        return self._of(allowance).take(key, self._clock.monotonic())

    async def give_back(self, allowance: Allowance, key: str) -> None:
        self._of(allowance).give_back(key)

    def _of(self, allowance: Allowance) -> Rated:
        return self._rated.setdefault(allowance, Rated(allowance))


class LocalPrecedence:
    """Numbers claims by counting them; forgets the oldest."""

    def __init__(self) -> None:
        self._last = 0
        self._claims: dict[str, int] = {}

    async def claim(self, key: str) -> int:
        self._last += 1
        self._claims.pop(key, None)
        self._claims[key] = self._last
        if len(self._claims) > CLAIMED_MAX:
            del self._claims[next(iter(self._claims))]
        return self._last

    async def newest(self, keys: list[str]) -> list[int]:
        return [self._claims.get(key, 0) for key in keys]
