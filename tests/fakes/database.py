"""An in-memory SQLite behind the `Database` port, until the test wants the real one."""

import sqlite3
from importlib.resources import files
from typing import Any, TypeVar

from tidings.storage.warm.port import Row, Transaction, Work

T = TypeVar("T")


class InMemoryDatabase:
    def __init__(self) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        schema = files("tidings.storage.warm") / "migrations" / "0001_first_light.sql"
        self._connection.executescript(schema.read_text(encoding="utf-8"))

    def close(self) -> None:
        self._connection.close()

    async def write(self, work: Work[T]) -> T:
        self._connection.execute("begin immediate")
        try:
            result = await work(_Statements(self._connection))
        except BaseException:
            self._connection.execute("rollback")
            raise
        self._connection.execute("commit")
        return result

    async def read(self, work: Work[T]) -> T:
        return await self.write(work)


class _Statements(Transaction):
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def execute(self, sql: str, *values: Any) -> list[Row]:
        return self._connection.execute(sql, values).fetchall()

    def announce(self, note: object) -> None:
        """Nobody listens to this database."""
