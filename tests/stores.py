"""The engines of the warm tier, so that a test of what stands on one can be run over another.

`TIDINGS_TEST_STORE=postgres` runs those that open theirs by `store_in` on PostgreSQL.
"""

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.harness.postgres import postgres
from tidings.storage.warm.port import Store
from tidings.storage.warm.postgres.database import PostgresDatabase
from tidings.storage.warm.sqlite import SqliteDatabase

ENGINES = ("sqlite", "postgres")
ENGINE = os.environ.get("TIDINGS_TEST_STORE", "sqlite")

_databases: dict[Path, str] = {}


def store_in(
    folder: Path, announce: Callable[[object], None] = lambda note: None, engine: str = ENGINE
) -> Store:
    """Open the store of a folder, which is new the first time; close it in the same event loop."""
    if engine == "sqlite":
        return SqliteDatabase.open(folder / "tidings.db", announce)
    return PostgresDatabase(database_of(folder), announce, Random(1))


def database_of(folder: Path) -> str:
    """Return the URL of the PostgreSQL database that stands for a folder."""
    if folder not in _databases:
        _databases[folder] = postgres().database()
    return _databases[folder]


def forget() -> None:
    """Remove the databases that a test has made."""
    while _databases:
        postgres().drop(_databases.popitem()[1])
