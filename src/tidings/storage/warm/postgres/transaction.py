"""One transaction on one connection."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import asyncpg

from tidings.storage.warm.port import Row
from tidings.storage.warm.postgres.connections import Connection
from tidings.storage.warm.postgres.dialect import numbered
from tidings.storage.warm.postgres.faults import committing

_FOR_ALL = " -- for all"
"""Marks the server's own statements: what is prepared for one role would be planned again for the
other, each time."""


class PostgresTransaction:
    """Statements inside one unit of work."""

    def __init__(self, connection: Connection, *, is_users: bool) -> None:
        self.notes: list[object] = []
        self._connection = connection
        self._mark = "" if is_users else _FOR_ALL
        self._midway = False

    async def execute(self, sql: str, *values: Any) -> list[Row]:
        with self._command():
            rows = await self._connection.fetch(numbered(sql) + self._mark, *values)
        return [tuple(row) for row in rows]

    async def lock(self, sql: str, *values: Any) -> list[Row]:
        return await self.execute(f"{sql} for no key update", *values)

    async def execute_many(self, sql: str, rows: list[Row]) -> None:
        if rows:
            with self._command():
                await self._connection.executemany(numbered(sql) + self._mark, rows)

    def announce(self, note: object) -> None:
        self.notes.append(note)

    async def begin(self, statements: str) -> None:
        """Begin by statements without values, which are one message to the server."""
        with self._command():
            await self._connection.execute(statements)

    async def commit(self) -> None:
        """Commit what was done.

        Raises:
            Undecided: `storage_unavailable`: whether it is committed is not known.
        """
        with committing(), self._command():
            outcome = await self._connection.execute("commit")
        if outcome != "COMMIT":
            raise RuntimeError("a unit of work went on after one of its statements had failed")

    async def leave(self) -> None:
        """Roll back what is not committed; close a connection in the middle of a command."""
        try:
            if not self._midway and self._connection.is_in_transaction():
                with suppress(OSError, asyncpg.PostgresError), self._command():
                    await self._connection.execute("rollback")
        finally:
            if self._midway:
                self._connection.terminate()

    @contextmanager
    def _command(self) -> Iterator[None]:
        """Know, whatever happens in the block, whether the server has answered."""
        self._midway = True
        try:
            yield
        except asyncpg.PostgresError:
            self._midway = False
            raise
        except asyncpg.InternalClientError as error:  # it was cut off in the middle of another word
            raise ConnectionResetError from error
        except asyncpg.InterfaceError as error:
            if self._connection.is_closed():
                raise ConnectionResetError from error
            raise
        self._midway = False
