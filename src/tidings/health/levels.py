"""How fast this server delivers: latencies counted by minute and bucket, until they are kept."""

from collections import defaultdict
from typing import NamedTuple

from tidings.domain.levels import APPEND_TO_SEND, SEND_TO_ACK, bucket_of
from tidings.domain.ports import Clock
from tidings.health.history_metrics import HistoryMetrics

CELLS_MAX = 20_000
"""Some five hours of a busy server, if nobody takes them; then the oldest are dropped."""


class Cell(NamedTuple):
    """What is counted together; the minute is counted from 1970."""

    minute: int
    what: str
    bucket: int


class DeliveryLevels:
    """Counts in memory: what nobody has taken when the process dies is lost."""

    def __init__(self, metrics: HistoryMetrics, clock: Clock) -> None:
        self._clock = clock
        self._seen = {
            APPEND_TO_SEND: metrics.append_to_send_seconds,
            SEND_TO_ACK: metrics.send_to_ack_seconds,
        }
        self._counts: defaultdict[Cell, int] = defaultdict(int)

    def saw(self, what: str, seconds: float) -> None:
        """Count a latency: `append_to_send` or `send_to_ack`."""
        seconds = max(0.0, seconds)
        self._seen[what].observe(seconds)
        self._counts[Cell(self._minute(), what, bucket_of(seconds))] += 1
        if len(self._counts) > CELLS_MAX:
            del self._counts[next(iter(self._counts))]

    def finished(self) -> dict[Cell, int]:
        """Return the counts of all minutes that are over."""
        now = self._minute()
        return {cell: count for cell, count in self._counts.items() if cell.minute < now}

    def forget(self, taken: dict[Cell, int]) -> None:
        """Forget counts that are kept elsewhere now."""
        for cell in taken:
            self._counts.pop(cell, None)

    def _minute(self) -> int:
        return int(self._clock.now() // 60)
