"""Backup and restore as functions: what cannot be done is refused, and has changed nothing."""

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tidings.app import back_up, build, restore
from tidings.domain.errors import TidingsError
from tidings.settings import Settings, load
from tidings.storage import backups
from tidings.storage.backups import DATABASE_FILE, KEY_FILE
from tidings.storage.marks import read_mark, read_restoration
from tidings.storage.warm.sqlite_file import SqliteFile


def settings_of(folder: Path) -> Settings:
    return load({"data_dir": folder}, {})


async def _served(settings: Settings, name: str) -> None:
    """Do what a server does between its start and its end."""
    app = build(settings)
    try:
        await app.begin()
        await app.identity.add_user(name, "correct horse")
    finally:
        await app.close()


def served(folder: Path, name: str) -> Settings:
    folder.mkdir(exist_ok=True)
    settings = settings_of(folder)
    asyncio.run(_served(settings, name))
    return settings


def refused(code: str, act: Callable[[], object]) -> None:
    with pytest.raises(TidingsError) as refusal:
        act()
    assert refusal.value.code == code


def spoil(path: Path) -> None:
    """Overwrite pages in the middle, as a failing disk does."""
    with path.open("r+b") as file:
        file.seek(8 * 4096)
        file.write(b"\xff" * 4096 * 12)


def from_the_future(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma user_version = 999")


def anothers(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table another_programs (x)")


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): path.read_bytes() for path in files if path.suffix != ".lock"}


def epochs(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / DATABASE_FILE)) as connection:
        return [why for (why,) in connection.execute("select why from epochs order by began_at")]


def users(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / DATABASE_FILE)) as connection:
        return [name for (name,) in connection.execute("select name from users order by name")]


BAD: dict[str, tuple[str, Callable[[Path], object]]] = {
    "no database": ("not_a_backup", Path.unlink),
    "a damaged database": ("store_damaged", spoil),
    "no database inside": ("store_damaged", lambda path: path.write_bytes(b"not SQLite" * 1000)),
    "a newer version's": ("store_too_new", from_the_future),
    "another program's": ("not_a_backup", anothers),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_backup_is_refused_before_anything_is_replaced(tmp_path: Path, what: str) -> None:
    code, harm = BAD[what]
    data, backup = tmp_path / "data", tmp_path / "backup"
    settings = served(data, "ana")
    back_up(settings, backup)
    harm(backup / DATABASE_FILE)
    before = contents(data)
    refused(code, lambda: restore(settings, backup))
    assert contents(data) == before


def test_a_backup_is_whole_or_not_there(tmp_path: Path) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    refused("no_store", lambda: back_up(settings_of(tmp_path / "none"), backup))
    data.mkdir()
    asyncio.run(build(settings_of(data)).close())
    refused("no_store", lambda: back_up(settings_of(data), backup))
    settings = served(data, "ana")
    (data / KEY_FILE).unlink()
    (data / KEY_FILE).mkdir()  # what cannot be copied stands for any fault in the middle
    with pytest.raises(IsADirectoryError):
        back_up(settings, backup)
    assert {path.name for path in tmp_path.iterdir()} == {"data"}
    (data / KEY_FILE).rmdir()
    back_up(settings, backup)
    refused("target_exists", lambda: back_up(settings, backup))


def test_a_finished_backup_is_older_than_the_store_by_its_generation(tmp_path: Path) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    settings = served(data, "ana")
    back_up(settings, backup)
    mark = read_mark(data)
    with closing(sqlite3.connect(backup / DATABASE_FILE)) as connection:
        ((copied,),) = connection.execute("select generation from store").fetchall()
    assert mark is not None
    assert copied < mark.generation
    assert mark.clean


def test_what_is_replaced_is_kept_and_what_a_crash_left_is_not_mixed_with_the_backup(
    tmp_path: Path,
) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    settings = served(data, "ana")
    back_up(settings, backup)
    served(data, "bob")
    unknown = data / "files" / "u" / "f_new"
    unknown.mkdir(parents=True)
    (unknown / "usage.duckdb").write_bytes(b"rows")
    done = restore(settings, backup)
    assert users(data) == ["ana"]
    assert done.aside is not None
    assert users(done.aside) == ["ana", "bob"]
    assert not unknown.exists()
    assert (done.aside / "files/u/f_new/usage.duckdb").read_bytes() == b"rows"
    assert not (data / f"{DATABASE_FILE}-wal").exists()
    restoration = read_restoration(data)
    assert restoration is not None
    assert (restoration.lost_events, restoration.lost_threads) == (0, 0)


class CutOff(SqliteFile):
    """Stands for a process that dies when everything is copied and nothing is replaced."""

    def replace_by(self, newer: Path, aside: Path) -> None:
        raise KeyboardInterrupt


def test_a_restore_that_was_cut_off_has_replaced_nothing_and_can_be_repeated(
    tmp_path: Path,
) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    settings = served(data, "ana")
    back_up(settings, backup)
    served(data, "bob")
    with pytest.raises(KeyboardInterrupt):
        backups.restore(backup, data, data / "replaced-1", CutOff)
    assert users(data) == ["ana", "bob"]
    served(data, "eve")
    assert epochs(data) == ["created"]
    restore(settings, backup)
    served(data, "joe")
    assert users(data) == ["ana", "joe"]
    assert epochs(data) == ["created", "restored"]


def test_a_restore_over_what_cannot_be_read_says_that_the_loss_is_not_known(
    tmp_path: Path,
) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    settings = served(data, "ana")
    back_up(settings, backup)
    shutil.copy(backup / DATABASE_FILE, data / DATABASE_FILE)
    (data / DATABASE_FILE).write_bytes(b"gone" * 2000)
    (data / f"{DATABASE_FILE}-wal").write_bytes(b"left by a crash")
    done = restore(settings, backup)
    assert done.loss is None
    assert done.aside is not None
    assert (done.aside / DATABASE_FILE).read_bytes() == b"gone" * 2000
    assert not (data / f"{DATABASE_FILE}-wal").exists()
    assert users(data) == ["ana"]
