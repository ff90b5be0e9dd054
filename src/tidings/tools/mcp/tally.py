"""What became of the calls to one tool server, as plain values for whoever looks at its health."""

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from tidings.domain.errors import TidingsError
from tidings.domain.ports import Clock

LATENCIES_MAX = 100
ANSWERED = "ok"
ABANDONED = "abandoned"
"""Outcomes of calls that did not fail; others are codes of errors."""


class CallTally:
    """Counts calls and their times."""

    def __init__(self, clock: Clock) -> None:
        self.outcomes: Counter[str] = Counter()
        self._seconds: deque[float] = deque(maxlen=LATENCIES_MAX)
        self._clock = clock

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the call that is made in the block, by how it ends."""
        begun = self._clock.monotonic()
        outcome = ABANDONED
        try:
            yield
            outcome = ANSWERED
        except TidingsError as error:
            outcome = error.code
            raise
        finally:
            self.outcomes[outcome] += 1
            self._seconds.append(self._clock.monotonic() - begun)

    @property
    def median_seconds(self) -> float | None:
        """The middle of the last calls' times."""
        return median(self._seconds) if self._seconds else None

    @property
    def slowest_seconds(self) -> float | None:
        """The longest of them."""
        return max(self._seconds, default=None)
