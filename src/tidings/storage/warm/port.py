"""Warm tier: the transactional records that must never be lost."""

from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from tidings.domain.context import Scope
from tidings.storage.marks import Mark
from tidings.storage.warm.clock import AskTime

T = TypeVar("T")
Row = tuple[Any, ...]


class Transaction(Protocol):
    """Statements that commit together or not at all."""

    async def execute(self, sql: str, *values: Any) -> list[Row]:
        """Run one statement, `?` for each value, and return its rows."""
        ...

    async def lock(self, sql: str, *values: Any) -> list[Row]:
        """Return the rows of a plain select; until this transaction ends no other changes them.

        What was changed while it waited for that is what it returns. The order in which units take
        rows is in docs/decisions/0051.
        """
        ...

    async def execute_many(self, sql: str, rows: list[Row]) -> None:
        """Run one statement for each row of values."""
        ...

    async def together(self, *parts: Coroutine[Any, Any, Any]) -> list[Any]:
        """Do parts of the unit, none of which relies on another; return their results in order.

        An engine that is far away gets the first statements of all parts at once, then the second
        ones, and so on: what one changes, the others do not see in the same turn. No two parts
        change the same row. An error of one is the unit's: what others have done stays in it.
        """
        ...

    async def turn(self, name: str) -> None:
        """Wait until no other unit that took the turn of this name is under way; comes first."""
        ...

    def announce(self, note: object) -> None:
        """Pass `note` to the listener once this transaction has committed."""
        ...


Work = Callable[[Transaction], Awaitable[T]]
WriteFirst = Callable[[Work[None]], Awaitable[None]]


class Database(Protocol):
    """Runs units of work, each for a scope: the user whom it is done for, or the server itself.

    An engine with row-level security holds a unit to the rows of its scope; one without leaves that
    to the SQL, which names the user in any case.

    A unit of work is an `async def work(tx)` that awaits nothing but its transaction: it may run on
    another thread, and again from the start if the engine asks for it, so it must not change
    anything outside. An exception rolls the unit back and reaches the caller.

    Raises:
        Unavailable: `storage_unavailable`, `storage_full` or `storage_busy`; nothing was written.
    """

    async def write(self, scope: Scope, work: Work[T]) -> T:
        """Return the work's result after it is durable."""
        ...

    async def read(self, scope: Scope, work: Work[T]) -> T:
        """Return the work's result, read from one consistent snapshot."""
        ...


class Arrivals(Protocol):
    """Hears where the data are, wherever that may be another place than before."""

    async def arrive(self, origin: str, write: WriteFirst, time: AskTime) -> None:
        """Take note of the copy of the data that is there, before anything else is done with it.

        `write` runs a unit of work on it, for the server; `time` asks what time it is there. Called
        again for the same copy, nothing changes.
        """
        ...


class Anywhere:
    """For those to whom one copy is like another."""

    async def arrive(self, origin: str, write: WriteFirst, time: AskTime) -> None:
        """Do nothing."""


class Store(Database, Protocol):
    """A database as the one who opened it holds it."""

    async def check(self) -> None:
        """Look whether the data may be worked on, after a stop that was none or where they are new.

        Raises:
            Unusable: `store_damaged`, `store_outdated`, `store_too_new`, `store_unprotected`,
                `store_unfinished`.
            Unavailable: it cannot be told now.
        """
        ...

    async def close(self) -> None:
        """Finish what was submitted, then let go."""
        ...


class Loss(NamedTuple):
    """What a store has that another one has not."""

    events: int
    threads: int


class StoreFile(Protocol):
    """A store as a file: at rest, or beside the process that works on it.

    Raises:
        Unavailable: `store_damaged`, `store_too_new`, `storage_busy`, `storage_unavailable`.
    """

    def copy_to(self, target: Path) -> None:
        """Write a consistent copy, synced to disk; others may go on working meanwhile."""
        ...

    def raise_generation(self) -> Mark:
        """Raise the generation by one; return the mark from now on."""
        ...

    def check(self) -> Mark:
        """Return the mark of a store at rest, after looking whether it is sound.

        Raises:
            InvalidInput: `not_a_backup`: it is no store of this kind.
        """
        ...

    def lost_by(self, other: Path) -> Loss:
        """Return what this store has and a store at rest has not."""
        ...

    def data_sets(self) -> list[str]:
        """Return `<user>/<file>` of every imported file that a store at rest knows."""
        ...

    def replace_by(self, newer: Path, aside: Path) -> None:
        """Put another file in this one's place, at once; what was here is kept in a folder."""
        ...
