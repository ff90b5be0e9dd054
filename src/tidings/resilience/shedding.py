"""When to refuse work at once, because it would only wait in vain."""

from dataclasses import dataclass

from tidings.domain.errors import Unavailable
from tidings.resilience.bulkhead import Priority

RETRY_AFTER_SECONDS = (1.0, 5.0)
"""From and to: drawn between them, so that those who were refused do not come back together."""
BACKGROUND_SHARE = 0.5
"""The share of the queue that background work may fill."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is under way and waits, how many may, and how long one piece takes."""

    inside: int
    inside_max: int
    waiting: int
    waiting_max: int
    seconds_each: float


def refusal(load: Load, priority: Priority, patience_seconds: float, chance: float) -> float | None:
    """Return None to take the work, or the seconds after which to come again.

    Refused is what finds the queue full, or would not begin within `patience_seconds`. What cancels
    something is never refused; background work may fill half of the queue. `chance` is 0..1.
    """
    if priority is Priority.CANCEL or (load.inside < load.inside_max and load.waiting == 0):
        return None
    share = BACKGROUND_SHARE if priority is Priority.BACKGROUND else 1.0
    expected = (load.waiting + 1) * load.seconds_each / max(1, load.inside_max)
    if load.waiting < load.waiting_max * share and expected <= patience_seconds:
        return None
    earliest, latest = RETRY_AFTER_SECONDS
    return max(expected - patience_seconds, 0.0) + earliest + chance * (latest - earliest)


def overloaded(retry_after_seconds: float) -> Unavailable:
    """Return the refusal as an error."""
    return Unavailable(
        "overloaded",
        f"There is too much to do right now; try again in {retry_after_seconds:.0f} seconds.",
        retry_after_seconds=retry_after_seconds,
    )
