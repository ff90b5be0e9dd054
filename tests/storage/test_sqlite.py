"""The embedded warm tier: what it returns is durable, and a failing unit harms nobody else."""

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.storage.units import names, put, run
from tidings.domain.context import SERVER
from tidings.domain.errors import Unavailable
from tidings.storage.backups import DATABASE_FILE
from tidings.storage.warm.port import Store, Transaction


def test_every_commit_is_synced_to_disk(tmp_path: Path) -> None:
    async def scenario(database: Store, notes: list[object]) -> Any:
        return await database.write(
            SERVER, lambda tx: tx.execute("select * from pragma_synchronous, pragma_journal_mode")
        )

    assert run(tmp_path, "sqlite", scenario) == [(2, "wal")]


def test_a_failing_unit_leaves_the_others_of_its_commit_alone(tmp_path: Path) -> None:
    async def scenario(database: Store, notes: list[object]) -> None:
        async with asyncio.TaskGroup() as tasks:
            writes = [
                tasks.create_task(attempt(database, name)) for name in ("a", "b", "a", "c", "b")
            ]
        assert [w.result() for w in writes] == [True, True, False, True, False]
        assert await database.read(SERVER, names) == ["a", "b", "c"]
        assert notes == ["a", "b", "c"]

    async def attempt(database: Store, name: str) -> bool:
        try:
            await database.write(SERVER, lambda tx: put(tx, name))
        except sqlite3.IntegrityError:
            return False
        return True

    run(tmp_path, "sqlite", scenario)


def test_an_announcement_is_made_only_after_the_commit(tmp_path: Path) -> None:
    async def scenario(database: Store, notes: list[object]) -> None:
        async def fails(tx: Transaction) -> None:
            await put(tx, "never")
            raise LookupError

        with pytest.raises(LookupError):
            await database.write(SERVER, fails)
        assert notes == []
        assert await database.read(SERVER, names) == []

    run(tmp_path, "sqlite", scenario)


def test_a_unit_that_waits_for_something_else_is_refused(tmp_path: Path) -> None:
    async def scenario(database: Store, notes: list[object]) -> None:
        async def waits(tx: Transaction) -> None:
            await asyncio.sleep(0)

        with pytest.raises(RuntimeError, match="nothing but its transaction"):
            await database.write(SERVER, waits)

    run(tmp_path, "sqlite", scenario)


def test_readers_cannot_write(tmp_path: Path) -> None:
    async def scenario(database: Store, notes: list[object]) -> None:
        with pytest.raises(Unavailable):
            await database.read(SERVER, lambda tx: put(tx, "x"))

    run(tmp_path, "sqlite", scenario)


def test_opening_twice_changes_nothing_and_a_newer_schema_is_refused(tmp_path: Path) -> None:
    async def writes(database: Store, notes: list[object]) -> None:
        await database.write(SERVER, lambda tx: put(tx, "kept"))

    async def reads(database: Store, notes: list[object]) -> Any:
        return await database.read(SERVER, names)

    run(tmp_path, "sqlite", writes)
    assert run(tmp_path, "sqlite", reads) == ["kept"]
    with sqlite3.connect(tmp_path / DATABASE_FILE) as connection:
        connection.execute("pragma user_version = 999")
    connection.close()
    with pytest.raises(Unavailable, match="newer version"):
        run(tmp_path, "sqlite", reads)


def test_two_processes_that_open_a_new_file_at_once_both_find_the_schema(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path;"
        "from tidings.storage.warm.sqlite import SqliteDatabase;"
        "SqliteDatabase.open(Path(sys.argv[1]), print)"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "t.db")]) for _ in range(2)
    ]
    assert [process.wait(30) for process in both] == [0, 0]


def test_a_unit_whose_caller_has_gone_is_not_begun(tmp_path: Path) -> None:
    async def scenario(database: Store, notes: list[object]) -> None:
        async with asyncio.TaskGroup() as tasks:
            gone = tasks.create_task(database.write(SERVER, lambda tx: put(tx, "gone")))
            gone.cancel()
        await database.write(SERVER, lambda tx: put(tx, "here"))
        assert await database.read(SERVER, names) == ["here"]

    run(tmp_path, "sqlite", scenario)
