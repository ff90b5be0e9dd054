"""Hot tier: hints that something changed. Losing one costs latency, never a message."""

from collections.abc import Callable
from typing import Protocol, TypeVar

N = TypeVar("N")


class Hints(Protocol):
    """Carries notes about what has been committed to whoever waits for it.

    A note may be lost, doubled, late or out of order; listeners must not depend on it.
    """

    def publish(self, note: object) -> None:
        """Tell the listeners of the note's type. Never waits, never fails."""
        ...

    def listen(self, kind: type[N], listener: Callable[[N], None]) -> None:
        """Call `listener` with every note of this type from now on, on the event loop."""
        ...


class Tickets(Protocol):
    """Holds small secrets for seconds; each can be taken once."""

    async def put(self, key: str, value: bytes, ttl_seconds: float) -> None:
        """Keep `value` under `key` for so long at most.

        Raises:
            Unavailable: `tickets_full`.
        """
        ...

    async def take(self, key: str) -> bytes | None:
        """Return the value and forget it, in one step; None when absent, taken or too old."""
        ...
