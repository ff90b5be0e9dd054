"""Time and identity come in as arguments, so that a seed replays a run."""

from typing import Protocol


class Clock(Protocol):
    """The time."""

    def now(self) -> float:
        """Return seconds since 1970-01-01 UTC; may jump."""
        ...

    def monotonic(self) -> float:
        """Return seconds that only grow; for durations and deadlines within a process."""
        ...


class IdSource(Protocol):
    """Names for new things."""

    def new(self, prefix: str) -> str:
        """Return `<prefix>_<ulid>`: unique, unguessable, sorted by time."""
        ...
