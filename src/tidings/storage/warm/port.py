"""Warm tier: the transactional records that must never be lost."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Row = tuple[Any, ...]


class Transaction(Protocol):
    """Statements that commit together or not at all."""

    async def execute(self, sql: str, *values: Any) -> list[Row]:
        """Run one statement, `?` for each value, and return its rows."""
        ...

    async def execute_many(self, sql: str, rows: list[Row]) -> None:
        """Run one statement for each row of values."""
        ...

    def announce(self, note: object) -> None:
        """Pass `note` to the listener once this transaction has committed."""
        ...


Work = Callable[[Transaction], Awaitable[T]]


class Database(Protocol):
    """Runs units of work.

    A unit of work is an `async def work(tx)` that awaits nothing but its transaction: it may run on
    another thread, and again from the start if the engine asks for it, so it must not change
    anything outside. An exception rolls the unit back and reaches the caller.

    Raises:
        Unavailable: `storage_unavailable`, `storage_full` or `storage_busy`; nothing was written.
    """

    async def write(self, work: Work[T]) -> T:
        """Return the work's result after it is durable."""
        ...

    async def read(self, work: Work[T]) -> T:
        """Return the work's result, read from one consistent snapshot."""
        ...
