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
