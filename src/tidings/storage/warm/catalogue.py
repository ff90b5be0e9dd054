"""The tables of this version, read from the migrations themselves, so that none is forgotten."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from graphlib import TopologicalSorter

from tidings.storage.warm.migrations import scripts


@dataclass(frozen=True, slots=True)
class StoredTable:
    """A table, its columns in order, and those of its primary key; `store` has none."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]


def tables() -> list[StoredTable]:
    """Return every table; one that others refer to comes before them."""
    with closing(sqlite3.connect(":memory:")) as scratch:
        for _, script in scripts():
            scratch.executescript(script)
        names = [name for (name,) in scratch.execute(_NAMES)]
        parents = {
            name: {row[2] for row in scratch.execute(f"pragma foreign_key_list({name})")}
            for name in names
        }
        return [_table(scratch, name) for name in TopologicalSorter(parents).static_order()]


_NAMES = "select name from sqlite_schema where type = 'table' order by name"


def _table(scratch: sqlite3.Connection, name: str) -> StoredTable:
    rows = scratch.execute(f"pragma table_info({name})").fetchall()
    key = sorted((row[5], row[1]) for row in rows if row[5])
    return StoredTable(name, tuple(row[1] for row in rows), tuple(column for _, column in key))
