"""A store that moves to another engine: whole or not at all, and again after it was cut off."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from tests.harness.cli import refused, start, tidings
from tests.harness.postgres import postgres
from tidings.app import App, build
from tidings.domain.context import SERVER
from tidings.domain.errors import Conflict, Unavailable
from tidings.settings import load
from tidings.storage import moving
from tidings.storage.backups import DATABASE_FILE
from tidings.storage.marks import read_mark
from tidings.storage.moving import Moved
from tidings.storage.warm.catalogue import StoredTable, tables
from tidings.storage.warm.port import Store
from tidings.storage.warm.postgres.database import PostgresDatabase
from tidings.storage.warm.sqlite import SqliteDatabase

ROWS = 2 * moving.PAGE_ROWS_MAX + 40
COLUMNS = (
    "select c.relname::text, array(select attname::text from pg_attribute"
    " where attrelid = c.oid and attnum > 0) from pg_class c"
    " where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r'"
)


@pytest.fixture
def url() -> Iterator[str]:
    """A PostgreSQL database with this version's schema, and nothing in it."""
    made = postgres().database()
    yield made
    postgres().drop(made)


def in_postgres(url: str) -> Store:
    return PostgresDatabase(url, print, Random(1), 2)


def in_file(folder: Path) -> Store:
    folder.mkdir(exist_ok=True)
    return SqliteDatabase.open(folder / DATABASE_FILE, print)


def value(column: str, kind: str, n: int) -> object:
    """Return something awkward; of columns of one name the same in every table."""
    match kind:
        case "TEXT":
            return f"{column} {'zZaéA_ 0'[n % 8]}\N{SNOWMAN}{n}"
        case "BLOB":
            return bytes([0, 255, n % 256]) * (n % 5)
        case "INTEGER":
            return (-1) ** n * 2**62 + n
        case _:
            return n / 3


def filled(folder: Path) -> Path:
    """Fill every table of a new store that a server has begun."""
    folder.mkdir()
    asyncio.run(begun(folder))
    with closing(sqlite3.connect(folder / DATABASE_FILE)) as connection:
        for table in tables():
            if table.name != "store":
                fill(connection, table)
        connection.commit()
    return folder


async def begun(folder: Path) -> None:
    app: App = build(load({"data_dir": folder}, {}))
    try:
        await app.begin()
    finally:
        await app.close()


def fill(connection: sqlite3.Connection, table: StoredTable) -> None:
    kinds = [row[1:4] for row in connection.execute(f"pragma table_info({table.name})")]
    marks = ", ".join("?" * len(kinds))
    rows = [
        [
            None if n % 3 == 0 and not needed and name not in table.key else value(name, kind, n)
            for name, kind, needed in kinds
        ]
        for n in range(ROWS)
    ]
    connection.executemany(f"insert into {table.name} values ({marks})", rows)


def contents(folder: Path) -> dict[str, list[object]]:
    """Return every row of every table, but for the store's generation."""
    with closing(sqlite3.connect(folder / DATABASE_FILE)) as connection:
        return {table.name: all_of(connection, table) for table in tables()}


def all_of(connection: sqlite3.Connection, table: StoredTable) -> list[object]:
    columns = ", ".join(f'"{column}"' for column in table.columns if column != "generation")
    return connection.execute(f"select {columns} from {table.name} order by 1, 2").fetchall()


async def moved(
    source: Store, target: Store, told: moving.Told = lambda table, rows: None
) -> Moved:
    try:
        return await moving.move(source, target, told)
    finally:
        await source.close()
        await target.close()


def test_no_table_or_column_of_either_engine_is_forgotten(tmp_path: Path, url: str) -> None:
    async def of_postgres() -> dict[str, list[str]]:
        store = in_postgres(url)
        try:
            return dict(await store.read(SERVER, lambda tx: tx.execute(COLUMNS)))
        finally:
            await store.close()

    carried = {table.name: set(table.columns) for table in tables()}
    found = {name: set(columns) for name, columns in asyncio.run(of_postgres()).items()}
    del found["tidings_schema"]
    assert carried == found
    with closing(sqlite3.connect(filled(tmp_path / "a") / DATABASE_FILE)) as connection:
        names = connection.execute("select name from sqlite_schema where type = 'table'").fetchall()
    assert set(carried) == {name for (name,) in names}


def test_every_row_goes_there_and_back_as_it_was(tmp_path: Path, url: str) -> None:
    here, back = filled(tmp_path / "here"), tmp_path / "back"
    there = asyncio.run(moved(in_file(here), in_postgres(url)))
    assert min(count for name, count in there.rows.items() if name != "epochs") >= ROWS
    again = asyncio.run(moved(in_postgres(url), in_file(back)))
    assert again.rows == there.rows
    assert again.mark.store_id == there.mark.store_id
    assert again.mark.generation == there.mark.generation + 1
    assert contents(back) == contents(here)


def test_a_source_that_is_worked_on_meanwhile_is_found_out(tmp_path: Path, url: str) -> None:
    here = filled(tmp_path / "here")

    def interfere(table: str, rows: int) -> None:
        if (table, rows) == ("runs", ROWS):
            with closing(sqlite3.connect(here / DATABASE_FILE)) as connection:
                connection.execute("update runs set state = 'another' where run_id like '%7'")
                connection.commit()

    with pytest.raises(Conflict) as refusal:
        asyncio.run(moved(in_file(here), in_postgres(url), interfere))
    assert refusal.value.code == "move_differs"
    assert "runs" in refusal.value.message


def test_a_move_that_was_killed_is_served_by_nobody_and_begun_again(
    tmp_path: Path, url: str
) -> None:
    here = filled(tmp_path / "here")
    ends = ("--from", f"sqlite:{here}", "--to", url)
    with start("move", *ends) as mover:
        assert mover.stdout is not None
        while not mover.stdout.readline().startswith("events:"):
            pass
        mover.kill()
    opened = tidings("user", "list", "--data-dir", tmp_path, TIDINGS_DATABASE_URL=url)
    refused(opened, "store_unfinished")
    again = tidings("move", *ends)
    assert again.status == 0, again.err
    assert f"moved {sum(len(rows) for rows in contents(here).values()) - 1:,} rows" in again.out
    refused(tidings("move", *ends), "target_not_empty")
    back = tmp_path / "back"
    assert tidings("move", "--from", url, "--to", f"sqlite:{back}").status == 0
    assert contents(back) == contents(here)
    mark, left = read_mark(back), read_mark(here)
    assert mark is not None
    assert left is not None
    with closing(sqlite3.connect(here / DATABASE_FILE)) as connection:
        ((generation,),) = connection.execute("select generation from store").fetchall()
    assert generation < left.generation < mark.generation
    assert mark.clean


def test_half_a_store_in_a_file_is_not_served_either(tmp_path: Path) -> None:
    here, there = filled(tmp_path / "here"), tmp_path / "there"

    def cut_off(table: str, rows: int) -> None:
        if (table, rows) == ("events", moving.PAGE_ROWS_MAX):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(moved(in_file(here), in_file(there), cut_off))
    with pytest.raises(Unavailable) as refusal:
        asyncio.run(begun(there))
    assert refusal.value.code == "store_unfinished"
    asyncio.run(moved(in_file(here), in_file(there)))
    assert contents(there) == contents(here)


def an_older_version(folder: Path) -> None:
    with closing(sqlite3.connect(folder / DATABASE_FILE)) as connection:
        connection.execute("pragma user_version = 2")


def a_newer_version(folder: Path) -> None:
    with closing(sqlite3.connect(folder / DATABASE_FILE)) as connection:
        connection.execute("pragma user_version = 999")


def nothing_there(folder: Path) -> None:
    (folder / DATABASE_FILE).unlink()


BAD: dict[str, Callable[[Path], None]] = {
    "store_outdated": an_older_version,
    "store_too_new": a_newer_version,
    "no_store": nothing_there,
}


@pytest.mark.parametrize("code", BAD)
def test_a_source_that_is_no_store_of_this_version_is_left_as_it_is(
    tmp_path: Path, url: str, code: str
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    asyncio.run(begun(here))
    BAD[code](here)
    database = here / DATABASE_FILE
    before = database.read_bytes() if database.exists() else None
    refused(tidings("move", "--from", f"sqlite:{here}", "--to", url), code)
    assert (database.read_bytes() if database.exists() else None) == before


def test_ends_that_cannot_be_are_refused(tmp_path: Path, url: str) -> None:
    here = tmp_path / "here"
    here.mkdir()
    asyncio.run(in_file(here).close())
    refused(tidings("move", "--from", "mysql:x", "--to", url), "bad_store")
    refused(tidings("move", "--from", f"sqlite:{here}", "--to", url), "no_store")
    empty = postgres().empty_database()
    refused(tidings("move", "--from", empty, "--to", url), "store_outdated")
    postgres().drop(empty)


def test_a_database_that_a_server_has_open_is_not_moved(tmp_path: Path, url: str) -> None:
    async def scenario() -> None:
        store = in_postgres(url)
        await store.check()
        back = f"sqlite:{tmp_path / 'back'}"
        ran = await asyncio.to_thread(tidings, "move", "--from", url, "--to", back)
        await store.close()
        refused(ran, "store_in_use")

    asyncio.run(scenario())
