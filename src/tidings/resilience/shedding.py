"""Shedding: when more is asked than can be done, some is refused at once, so that the rest is done.

Without it a queue grows until everything in it is too late, and all the work is for nothing.
"""

from dataclasses import dataclass
from enum import StrEnum

from tidings.resilience.priority import Priority

RETRY_SECONDS_MIN = 1.0
RETRY_SECONDS_MAX = 30.0
BACKGROUND_SHARE = 1 / 3
"""How much of each bound is there for what is not urgent: it is refused first."""


class Bound(StrEnum):
    """What is over its bound; NONE is nothing."""

    NONE = ""
    LENGTH = "queue_length"
    WAIT = "queue_wait"
    LAG = "loop_lag"


@dataclass(frozen=True, slots=True)
class SheddingRules:
    """Bounds over all users.

    `queued_max` runs may want for room. Where more do than are worked on at once, a further one may
    have to wait for `wait_seconds_max`. The event loop may be `lag_seconds_max` late.
    """

    queued_max: int = 10_000
    wait_seconds_max: float = 30.0
    lag_seconds_max: float = 1.0


@dataclass(frozen=True, slots=True)
class Load:
    """How many runs want for room, for how long one more would wait, how late the event loop is.

    `room` is how many are worked on at once, by all who do so: a queue no longer than that is none.
    """

    queued: int
    wait_seconds: float
    lag_seconds: float
    room: int


def exceeded(load: Load, rules: SheddingRules, priority: Priority) -> Bound:
    """Return which bound keeps work of this priority out."""
    if priority is Priority.CANCEL:
        return Bound.NONE
    share = BACKGROUND_SHARE if priority is Priority.BACKGROUND else 1.0
    if load.queued >= share * rules.queued_max:
        return Bound.LENGTH
    if load.queued > load.room and load.wait_seconds > share * rules.wait_seconds_max:
        return Bound.WAIT
    if load.lag_seconds > share * rules.lag_seconds_max:
        return Bound.LAG
    return Bound.NONE


def expected_wait(queued: int, oldest_seconds: float, ended: int, seconds: float) -> float:
    """Return for how long a further run would wait.

    `ended` runs ended in the last `seconds`, in which there was always a queue. The age of the
    oldest alone tells of a crowd only when it is too late to keep it out.
    """
    return max(oldest_seconds, queued * seconds / ended if ended else 0.0)


def retry_seconds(load: Load, rules: SheddingRules, chance: float) -> float:
    """Return when to ask again: what the queue is too long by, spread over twice that time.

    `chance` is drawn evenly from 0..1, so that those who were refused together do not come back
    together.
    """
    excess = load.wait_seconds - rules.wait_seconds_max
    return min(RETRY_SECONDS_MAX, max(RETRY_SECONDS_MIN, excess)) * (1.0 + chance)
