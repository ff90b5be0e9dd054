"""Circuit breakers: what fails most of the time is left alone for a while, then tried once."""

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from enum import StrEnum

KEYS_MAX = 10_000


class BreakerState(StrEnum):
    """Closed lets everything through, half-open one probe, open nothing."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


class Passage(StrEnum):
    """How a call was met; who was let in says with it how the call went."""

    REFUSED = "refused"
    ORDINARY = "ordinary"
    PROBE = "probe"


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When a breaker opens, and for how long; times in seconds.

    It opens when, of at least `calls_min` calls of the last `window_seconds` (the newest
    `calls_max`), `share` or more failed. It stays open for `open_seconds`, twice as long after each
    probe that fails, at most `open_seconds_max`: never for good. A probe of which nothing is heard
    for `probe_seconds_max` is given up.
    """

    window_seconds: float = 120.0
    calls_min: int = 5
    calls_max: int = 100
    share: float = 0.5
    open_seconds: float = 5.0
    open_seconds_max: float = 60.0
    probe_seconds_max: float = 150.0


BREAKER_RULES = BreakerRules()


class Breaker:
    """The breaker of one thing. `now` is monotonic, in seconds.

    Who calls `admit` and is let in says by `succeeded`, `failed` or `abandoned` how it went. While
    the breaker is open only its probe counts: what began before says nothing of now.
    """

    def __init__(self, rules: BreakerRules) -> None:
        self._rules = rules
        self._outcomes: deque[tuple[float, bool]] = deque(maxlen=rules.calls_max)
        self._failures = 0
        self._opened_at: float | None = None
        self._open_seconds = rules.open_seconds
        self._probe_at: float | None = None

    def state(self, now: float) -> BreakerState:
        """Return how the next call would be met."""
        if self._opened_at is None:
            return BreakerState.CLOSED
        if self.wait_seconds(now) > 0:
            return BreakerState.OPEN
        return BreakerState.HALF_OPEN

    def wait_seconds(self, now: float) -> float:
        """Return the time until a call could be let in; 0 when one could be now."""
        if self._opened_at is None:
            return 0.0
        free_at = self._opened_at + self._open_seconds
        if self._probe_at is not None:
            free_at = max(free_at, self._probe_at + self._rules.probe_seconds_max)
        return max(0.0, free_at - now)

    def admit(self, now: float) -> Passage:
        """Let a call in, or not; while half-open one may go, as a probe."""
        if self._opened_at is None:
            return Passage.ORDINARY
        if self.wait_seconds(now) > 0:
            return Passage.REFUSED
        self._probe_at = now
        return Passage.PROBE

    def succeeded(self, now: float, passage: Passage) -> None:
        """Take note that it works; after a probe everything is let through again."""
        if self._opened_at is not None:
            if passage is not Passage.PROBE:
                return
            self._opened_at = self._probe_at = None
            self._outcomes.clear()
            self._failures = 0
        self._note(now, failed=False)

    def failed(self, now: float, passage: Passage) -> None:
        """Take note of a failure that is the thing's own."""
        if self._opened_at is not None:
            if passage is Passage.PROBE:
                self._open(now, min(self._rules.open_seconds_max, self._open_seconds * 2))
            return
        self._note(now, failed=True)
        enough = len(self._outcomes) >= self._rules.calls_min
        if enough and self._failures >= self._rules.share * len(self._outcomes):
            self._open(now, self._rules.open_seconds)

    def abandoned(self, _now: float, passage: Passage) -> None:
        """Take note that a call told nothing: it was cancelled, or its time was too short."""
        if passage is Passage.PROBE:
            self._probe_at = None

    def _open(self, now: float, seconds: float) -> None:
        self._opened_at, self._open_seconds, self._probe_at = now, seconds, None

    def _note(self, now: float, *, failed: bool) -> None:
        outcomes = self._outcomes
        if len(outcomes) == outcomes.maxlen:
            self._failures -= outcomes.popleft()[1]
        outcomes.append((now, failed))
        self._failures += failed
        oldest = now - self._rules.window_seconds
        while outcomes[0][0] < oldest:
            self._failures -= outcomes.popleft()[1]


class Breakers:
    """Breakers by key; those unused for longest are forgotten beyond `keys_max`.

    Where a fault is one user's (their own key, their own quota), the key names the user too, so
    that it blocks nobody else.
    """

    def __init__(self, rules: BreakerRules = BREAKER_RULES, keys_max: int = KEYS_MAX) -> None:
        self._rules = rules
        self._keys_max = keys_max
        self._breakers: OrderedDict[Hashable, Breaker] = OrderedDict()

    def of(self, key: Hashable) -> Breaker:
        """Return the breaker of a key."""
        breaker = self._breakers.get(key)
        if breaker is None:
            breaker = self._breakers[key] = Breaker(self._rules)
            if len(self._breakers) > self._keys_max:
                self._breakers.popitem(last=False)
        else:
            self._breakers.move_to_end(key)
        return breaker

    def states(self, now: float) -> Iterator[tuple[Hashable, BreakerState]]:
        """Yield every key with its state."""
        for key, breaker in self._breakers.items():
            yield key, breaker.state(now)
