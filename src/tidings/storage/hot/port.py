"""Hot tier: hints that something changed, and what is only worth keeping for seconds.

All of it may be lost at any moment. That costs latency, never a message.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

import msgspec

from tidings.resilience.rates import Allowance
from tidings.storage.notes import FleetNote, UserNote

N = TypeVar("N")
T = TypeVar("T", bound=UserNote | FleetNote)


class HintsMissed(msgspec.Struct, frozen=True):
    """A note of the hot tier itself: until now, hints of other processes may have been lost."""


class Hints(Protocol):
    """Carries notes about what has been committed to whoever waits for it.

    Within the process a note reaches its listeners at once, whatever becomes of the hot tier. From
    process to process it may be lost, doubled, late or out of order; hearers must not depend on it.
    """

    def publish(self, note: object) -> None:
        """Tell this process, and others if the note is of a kind that travels.

        Never waits, never fails.
        """
        ...

    def listen(self, kind: type[N], listener: Callable[[N], None]) -> None:
        """Call `listener` with every note of this type that this process commits."""
        ...

    def hear(self, kind: type[T], listener: Callable[[T], None]) -> None:
        """Call `listener` with notes of this type from now on, whichever process commits them.

        Notes of users come from elsewhere only for those who are attended to.
        """
        ...

    def attend(self, user_id: str) -> None:
        """Have notes of this user come from elsewhere, until `leave` was called as often."""
        ...

    def leave(self, user_id: str) -> None:
        """Take back one `attend`."""
        ...


class Once(Protocol):
    """Tells the first use of something from every later one."""

    async def first(self, key: str, seconds: float) -> bool:
        """Tell whether nobody has asked for this key in the last `seconds`, and take note.

        True for one caller among all processes while the hot tier is there, and for one in this
        process in any case.

        Raises:
            Unavailable: `tickets_full`.
        """
        ...


class Rates(Protocol):
    """Counts what may be done so often, over all processes.

    While the hot tier is away each process counts for itself.
    """

    async def take(self, allowance: Allowance, key: str) -> float:
        """Take one and return 0; or take nothing and return the seconds to wait for the next."""
        ...

    async def give_back(self, allowance: Allowance, key: str) -> None:
        """Undo one take that turned out not to count."""
        ...


class Precedence(Protocol):
    """Puts those who claim the same thing in one order, over all processes."""

    async def claim(self, key: str) -> int:
        """Return a number above that of every earlier claim of this key.

        Raises:
            Unavailable: `hot_tier_away`.
        """
        ...

    async def newest(self, keys: list[str]) -> list[int]:
        """Return the newest claim of each key; 0 for what was not claimed of late.

        Raises:
            Unavailable: `hot_tier_away`.
        """
        ...
