"""Parquet files by table and day: parts that are written whole, replaced, joined and thinned.

`<table>/<day>/<part>.parquet`. A part that is repeated takes its own place, so that nothing of it
is there twice; where parts overlap all the same, readers take the newest of each key.
"""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb

from tidings.storage.cold.pipe import AskFiles, EraseThreads
from tidings.storage.cold.records import CONTENT, OF_USERS, TABLES, ColdTable
from tidings.storage.marks import make_folder, sync

PARTS_PER_DAY_MAX = 16
MEMORY_MIB = 256
SPILL_MIB = 1024
ROWS_PER_GROUP = 20_480
LINE_BYTES_MAX = 64 << 20

_KINDS: dict[object, str] = {
    str: "varchar",
    int: "bigint",
    float: "double",
    float | None: "double",
}


class ParquetFiles:
    """The files of a folder, and the engine that reads and writes them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        spill = root / "spill"
        shutil.rmtree(spill, ignore_errors=True)
        spill.mkdir(parents=True)
        self._engine = duckdb.connect(
            ":memory:",
            config={
                "memory_limit": f"{MEMORY_MIB}MiB",
                "temp_directory": str(spill),
                "max_temp_directory_size": f"{SPILL_MIB}MiB",
                "threads": 1,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            },
        )
        self._engine.execute("set enable_progress_bar = false")

    def put(self, table: ColdTable, day: str, name: str, rows: bytes) -> None:
        """Write a part, in the place of the one that had its name."""
        folder = self._root / table.name / day
        make_folder(folder)
        lines = folder / f"{name}.lines"
        lines.write_bytes(rows)
        columns = ", ".join(f"{_quoted(c)}: {_text(kind)}" for c, kind in _kinds(table).items())
        try:
            self._write(
                table,
                f"read_json({_text(lines)}, columns = {{{columns}}}, format ="
                f" 'newline_delimited', maximum_object_size = {LINE_BYTES_MAX})",
                folder / f"{name}.parquet",
            )
        finally:
            lines.unlink()

    def ask(self, question: AskFiles) -> list[list[object]]:
        """Return the rows of an answer."""
        sources = {
            f"{{{table.name}}}": _newest(table, self._parts(table, question.first, question.last))
            for table in TABLES
        }
        sql = question.sql
        for mark, source in sources.items():
            sql = sql.replace(mark, source)
        return [list(row) for row in self._engine.execute(sql, question.values).fetchall()]

    def erase(self, erasure: EraseThreads) -> None:
        """Write anew, without some threads or users, every part that has something of them."""
        for user_id, thread_id in erasure.threads:
            whose = f"user_id = {_text(user_id)}"
            if thread_id is not None:
                whose += f" and thread_id = {_text(thread_id)}"
            for table in OF_USERS if thread_id is None else CONTENT:
                for part in self._parts_with(table, whose):
                    self._write(table, f"{_read([part])} where not ({whose})", part)

    def forget(self, before: str) -> None:
        """Remove the days of events before a day."""
        for table in CONTENT[:1]:
            for folder in self._days(table):
                if folder.name < before:
                    shutil.rmtree(folder)

    def tidy(self) -> None:
        """Make one part of a day that has more than PARTS_PER_DAY_MAX."""
        for table in TABLES:
            for folder in self._days(table):
                parts = sorted(folder.glob("*.parquet"))
                if len(parts) > PARTS_PER_DAY_MAX:
                    self._join(table, folder, parts)

    def _join(self, table: ColdTable, folder: Path, parts: list[Path]) -> None:
        """Write the joined part before the others go: cut off between, they overlap."""
        digest = hashlib.sha256("\n".join(part.name for part in parts).encode()).hexdigest()
        joined = folder / f"{digest[:32]}.parquet"
        self._write(table, _newest(table, parts), joined)
        for part in parts:
            if part != joined:
                part.unlink(missing_ok=True)
        sync(folder)

    def _write(self, table: ColdTable, source: str, target: Path) -> None:
        """Write a part whole and synced to disk, or not at all."""
        draft = target.with_name(f"{target.name}.new")
        key = ", ".join(_quoted(column) for column in table.key)
        self._engine.execute(
            f"copy (from {source} order by {key}) to {_text(draft)}"
            f" (format parquet, compression zstd, row_group_size {ROWS_PER_GROUP})"
        )
        sync(draft)
        draft.replace(target)
        sync(target.parent)

    def _parts(self, table: ColdTable, first: str, last: str) -> list[Path]:
        return [
            part
            for folder in self._days(table)
            if first <= folder.name <= last
            for part in sorted(folder.glob("*.parquet"))
        ]

    def _parts_with(self, table: ColdTable, condition: str) -> list[Path]:
        parts = self._parts(table, "", "9999")
        if not parts:
            return []
        rows = self._engine.execute(
            f"select distinct filename from {_read(parts, ', filename = true')} where {condition}"
        ).fetchall()
        return [Path(name) for (name,) in rows]

    def _days(self, table: ColdTable) -> Iterator[Path]:
        yield from sorted((self._root / table.name).glob("*-*-*"))


def _newest(table: ColdTable, parts: list[Path]) -> str:
    """Return the records of parts, without repeats: filters on the key reach down to the files."""
    if not parts:
        nothing = ", ".join(f"null::{kind} as {_quoted(c)}" for c, kind in _kinds(table).items())
        return f"(select {nothing} where false)"
    key = ", ".join(_quoted(column) for column in table.key)
    return (
        f"(from {_read(parts)} qualify row_number() over"
        f" (partition by {key} order by exported_at desc) = 1)"
    )


def _read(parts: list[Path], more: str = "") -> str:
    """Return what reads parts, also such that were written with fewer columns."""
    names = ", ".join(_text(part) for part in parts)
    return f"read_parquet([{names}], union_by_name = true, hive_partitioning = false{more})"


def _kinds(table: ColdTable) -> dict[str, str]:
    return {name: "date" if name == "day" else _KINDS[kind] for name, kind in table.columns.items()}


def _quoted(name: str) -> str:
    return f'"{name}"'


def _text(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"
