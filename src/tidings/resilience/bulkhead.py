"""Bulkheads: so many at once, so many waiting; who is more urgent goes first."""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum

from tidings.resilience.priority import Priority


class Admission(StrEnum):
    """What becomes of who asks to enter."""

    ADMITTED = "admitted"
    WAITING = "waiting"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class BulkheadRules:
    """How many work at once, and how many more may wait for it."""

    at_once_max: int = 16
    waiting_max: int = 32


BULKHEAD_RULES = BulkheadRules()


class Bulkhead:
    """Who is in, and who waits; each is known by a ticket of the caller's own.

    When the waiting room is full, a more urgent ticket takes the place of the least urgent one that
    came last; that one has to go.
    """

    def __init__(self, rules: BulkheadRules) -> None:
        self._rules = rules
        self._inside: set[Hashable] = set()
        self._waiting: dict[Hashable, Priority] = {}

    @property
    def inside(self) -> int:
        """Return how many work now."""
        return len(self._inside)

    @property
    def waiting(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def enter(self, ticket: Hashable, priority: Priority) -> tuple[Admission, Hashable | None]:
        """Return what becomes of a ticket, and which waiting one had to go for it."""
        free = len(self._inside) < self._rules.at_once_max and not self._waiting
        if free:
            self._inside.add(ticket)
            return Admission.ADMITTED, None
        if len(self._waiting) < self._rules.waiting_max:
            self._waiting[ticket] = priority
            return Admission.WAITING, None
        last = max(reversed(self._waiting), key=self._waiting.__getitem__, default=None)
        if last is None or self._waiting[last] <= priority:
            return Admission.REFUSED, None
        del self._waiting[last]
        self._waiting[ticket] = priority
        return Admission.WAITING, last

    def leave(self, ticket: Hashable) -> Hashable | None:
        """Take a ticket out, whether it is in or waits; return the one that is let in for it."""
        self._waiting.pop(ticket, None)
        self._inside.discard(ticket)
        if not self._waiting or len(self._inside) >= self._rules.at_once_max:
            return None
        first = min(self._waiting, key=self._waiting.__getitem__)
        del self._waiting[first]
        self._inside.add(first)
        return first
