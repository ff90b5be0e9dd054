"""A rate limit: so many at once, then as many again over a period (GCRA)."""

from collections import OrderedDict

from tidings.domain.ports import Clock

KEYS_MAX = 100_000


class RateLimit:
    """`count` at once per key, refilled evenly over `seconds`. Remembers one number per key."""

    def __init__(self, count: int, seconds: float, clock: Clock) -> None:
        self._interval = seconds / count
        self._burst = seconds
        self._clock = clock
        self._busy_until: OrderedDict[str, float] = OrderedDict()

    def take(self, key: str) -> float:
        """Take one and return 0; or take nothing and return the seconds to wait for the next."""
        now = self._clock.monotonic()
        after = max(now, self._busy_until.get(key, now)) + self._interval
        if after - now > self._burst + 1e-6:
            return after - now - self._burst
        self._busy_until[key] = after
        self._busy_until.move_to_end(key)
        if len(self._busy_until) > KEYS_MAX:
            self._busy_until.popitem(last=False)
        return 0.0

    def give_back(self, key: str) -> None:
        """Undo one take that turned out not to count."""
        if key in self._busy_until:
            self._busy_until[key] -= self._interval
