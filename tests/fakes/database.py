"""The warm port on an SQLite database in memory."""

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable
from importlib import resources
from typing import Any, TypeVar

from tidings.storage.warm.port import Row, Work

T = TypeVar("T")


class MemoryTransaction:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def execute(self, sql: str, *values: Any) -> list[Row]:
        return self._connection.execute(sql, values).fetchall()

    def announce(self, note: object) -> None:
        pass


class MemoryDatabase:
    """Each unit of work runs alone, on another thread, and commits or rolls back."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False
        )
        self._lock = threading.Lock()
        migrations = resources.files("tidings.storage.warm") / "migrations"
        self._connection.executescript((migrations / "0001_first_light.sql").read_text())

    async def write(self, work: Work[T]) -> T:
        return await asyncio.to_thread(self._run, work)

    async def read(self, work: Work[T]) -> T:
        return await asyncio.to_thread(self._run, work)

    def close(self) -> None:
        self._connection.close()

    def _run(self, work: Work[T]) -> T:
        with self._lock:
            self._connection.execute("begin")
            try:
                result = _finish(work(MemoryTransaction(self._connection)))
            except BaseException:
                self._connection.rollback()
                raise
            self._connection.commit()
            return result


def _finish(work: Awaitable[T]) -> T:
    try:
        work.__await__().send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("a unit of work awaited something else than its transaction")
