"""The warm tier's engines, so that a test of what stands on one can be run over another."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from tests.harness.tiers import ENGINE, database_of
from tidings.domain.context import SERVER
from tidings.storage.backups import DATABASE_FILE
from tidings.storage.warm.port import Row, Store, Transaction
from tidings.storage.warm.postgres.database import PostgresDatabase
from tidings.storage.warm.sqlite import SqliteDatabase

T = TypeVar("T")

ENGINES = ("sqlite", "postgres")


def store_in(
    place: Path | str, announce: Callable[[object], None] = lambda note: None, engine: str = ENGINE
) -> Store:
    """Open the store of a folder, which is new the first time, or that of a database's URL.

    Close it in the same event loop.
    """
    if isinstance(place, Path) and engine == "sqlite":
        return SqliteDatabase.open(place / DATABASE_FILE, announce)
    url = place if isinstance(place, str) else database_of(place)
    return PostgresDatabase(url, announce, Random(1))


def rows_of(place: Path | str, sql: str, *values: Any) -> list[Row]:
    """Return what a statement finds in the store of a place, beside whoever works on it."""
    return _beside(place, lambda store: store.read(SERVER, lambda tx: tx.execute(sql, *values)))


def change(place: Path | str, *statements: str) -> None:
    """Change what the store of a place holds, in one transaction."""

    async def work(tx: Transaction) -> None:
        for statement in statements:
            await tx.execute(statement)

    _beside(place, lambda store: store.write(SERVER, work))


def _beside(place: Path | str, use: Callable[[Store], Awaitable[T]]) -> T:
    async def run() -> T:
        store = store_in(place)
        try:
            return await use(store)
        finally:
            await store.close()

    with ThreadPoolExecutor(1) as aside:  # whoever asks may be in an event loop
        return aside.submit(lambda: asyncio.run(run())).result()
