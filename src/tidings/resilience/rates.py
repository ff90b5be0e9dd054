"""A rate limit: so many at once, then as many again over a period (GCRA)."""

from collections import OrderedDict
from dataclasses import dataclass

KEYS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """`count` at once for a key, refilled evenly over `seconds`. The name tells it from others."""

    name: str
    count: int
    seconds: float

    @property
    def interval(self) -> float:
        """How many seconds one take uses up."""
        return self.seconds / self.count


class Rated:
    """Counts by key; remembers one number for each. `now` is in seconds and never falls."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._busy_until: OrderedDict[str, float] = OrderedDict()

    def take(self, key: str, now: float) -> float:
        """Take one and return 0; or take nothing and return the seconds to wait for the next."""
        after = max(now, self._busy_until.get(key, now)) + self._allowance.interval
        if after - now > self._allowance.seconds + 1e-6:
            return after - now - self._allowance.seconds
        self._busy_until[key] = after
        self._busy_until.move_to_end(key)
        if len(self._busy_until) > KEYS_MAX:
            self._busy_until.popitem(last=False)
        return 0.0

    def give_back(self, key: str) -> None:
        """Undo one take that turned out not to count."""
        if key in self._busy_until:
            self._busy_until[key] -= self._allowance.interval
