"""Embedded warm tier: one SQLite file in WAL mode, one writer thread, group commit.

Whatever waited while the last commit was syncing shares the next commit: nobody waits for a timer,
and under load one fsync carries many units of work.
"""

import asyncio
import fcntl
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tidings.domain.context import SERVER, Scope
from tidings.domain.errors import Unavailable, Unusable
from tidings.storage.warm.migrations import scripts, too_new
from tidings.storage.warm.port import Row, Work

T = TypeVar("T")

READERS = 2
UNITS_PER_COMMIT_MAX = 256
BUSY_TIMEOUT_MS = 10_000
STATEMENTS_CACHED = 512
CACHE_KIB = 16 * 1024
WAL_AUTOCHECKPOINT_PAGES = 4_000
CHECKED_BYTES_MAX = 1024**3

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Unit:
    """A unit of work on its way through the writer thread, and what became of it."""

    work: Work[Any]
    future: "asyncio.Future[Any]"
    notes: list[object] = field(default_factory=list)
    result: Any = None
    error: BaseException | None = None


class SqliteDatabase:
    """One file; writes are durable (`synchronous=FULL`) before their result is returned."""

    def __init__(self, path: Path, announce: Callable[[object], None]) -> None:
        self._path = path
        self._announce = announce
        self._waiting: queue.SimpleQueue[_Unit | None] = queue.SimpleQueue()
        self._readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="warm-read")
        self._writer = threading.Thread(target=self._write_forever, name="warm-write", daemon=True)
        self._closed = False

    @classmethod
    def open(cls, path: Path, announce: Callable[[object], None]) -> "SqliteDatabase":
        """Open the file, bring its schema up to date and start the writer.

        `announce` is called on the event loop with each note of a committed transaction.

        Raises:
            Unavailable: the file cannot be opened, or was written by a newer version.
        """
        database = cls(path, announce)
        with as_unavailable(), alone(path):
            connection = connect(path)
            _migrate(connection)
            connection.close()
            for _ in range(READERS):
                reader = connect(path)
                reader.execute("pragma query_only = on")
                database._readers.put(reader)
        database._writer.start()
        return database

    async def write(self, scope: Scope, work: Work[T]) -> T:  # noqa: ARG002 - SQLite has no row-level security
        if self._closed:
            raise Unavailable("storage_unavailable", "The store is closing; try again shortly.")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.put(_Unit(work, future))
        return await future

    async def read(self, scope: Scope, work: Work[T]) -> T:  # noqa: ARG002 - SQLite has no row-level security
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._read, work)

    async def check(self) -> None:
        """Look whether the file is sound, unless it has more than CHECKED_BYTES_MAX.

        Raises:
            Unavailable: `store_damaged`.
        """
        size = self._path.stat().st_size
        if size > CHECKED_BYTES_MAX:
            _log.warning("the last stop was none; %s bytes are too many to check at start", size)
            return
        rows = await self.read(SERVER, lambda tx: tx.execute("pragma quick_check(1)"))
        if rows != [("ok",)]:
            raise damaged(str(rows[0][0]))

    async def close(self) -> None:
        """Finish what was submitted, then close the file."""
        self._closed = True
        self._waiting.put(None)
        await asyncio.get_running_loop().run_in_executor(None, self._writer.join)
        self._pool.shutdown()
        while not self._readers.empty():
            self._readers.get().close()

    def _read(self, work: Work[T]) -> T:
        connection = self._readers.get()
        try:
            with as_unavailable():
                connection.execute("begin")
                return _finish(work(SqliteTransaction(connection, [])))
        finally:
            if connection.in_transaction:
                connection.rollback()
            self._readers.put(connection)

    def _write_forever(self) -> None:
        connection = connect(self._path)
        while batch := self._next_batch():
            _commit_together(connection, batch)
            loop = batch[0].future.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._deliver, batch)
        connection.close()

    def _next_batch(self) -> list[_Unit]:
        """Wait for a unit, then take what else is waiting; empty means close."""
        batch: list[_Unit] = []
        unit = self._waiting.get()
        while unit is not None:
            if not unit.future.cancelled():
                batch.append(unit)
            if batch and (self._waiting.empty() or len(batch) == UNITS_PER_COMMIT_MAX):
                return batch
            unit = self._waiting.get()
        if batch:
            self._waiting.put(None)  # come back for the closing mark after this commit
        return batch

    def _deliver(self, batch: list[_Unit]) -> None:
        for unit in batch:
            if unit.error is None:
                for note in unit.notes:
                    self._announce(note)
            if unit.future.done():
                continue
            if unit.error is None:
                unit.future.set_result(unit.result)
            else:
                unit.future.set_exception(unit.error)


class SqliteTransaction:
    """Statements inside one unit of work."""

    def __init__(self, connection: sqlite3.Connection, notes: list[object]) -> None:
        self._connection = connection
        self._notes = notes

    async def execute(self, sql: str, *values: Any) -> list[Row]:
        return self._connection.execute(sql, values).fetchall()

    async def lock(self, sql: str, *values: Any) -> list[Row]:
        return await self.execute(sql, *values)  # there is one writer

    async def execute_many(self, sql: str, rows: list[Row]) -> None:
        self._connection.executemany(sql, rows)

    async def together(self, *parts: Coroutine[Any, Any, Any]) -> list[Any]:
        try:
            return [await part for part in parts]
        finally:
            for part in parts:
                part.close()  # after an error: those that were not begun

    async def turn(self, name: str) -> None:
        """Go on: there is one writer."""

    def announce(self, note: object) -> None:
        self._notes.append(note)


def _commit_together(connection: sqlite3.Connection, batch: list[_Unit]) -> None:
    """Run the units and commit them with one sync; one that fails leaves the others alone.

    Nearly every unit succeeds, or fails before it has changed anything. Should one fail later, all
    begin again, each under a savepoint of its own.
    """
    try:
        with as_unavailable():
            connection.execute("begin immediate")
            if not all(_run_unit(connection, unit) for unit in batch):
                connection.execute("rollback")
                connection.execute("begin immediate")
                for unit in batch:
                    _run_alone(connection, unit)
            connection.execute("commit")
    except Unavailable as error:
        if connection.in_transaction:
            connection.rollback()
        for unit in batch:
            unit.error = error


def _run_alone(connection: sqlite3.Connection, unit: _Unit) -> None:
    connection.execute("savepoint unit")
    if not _run_unit(connection, unit):
        connection.execute("rollback to unit")
    connection.execute("release unit")


def _run_unit(connection: sqlite3.Connection, unit: _Unit) -> bool:
    """Run a unit; return False if it failed and what it had changed is still there."""
    unit.notes, unit.error = [], None
    changes = connection.total_changes
    try:
        unit.result = _finish(unit.work(SqliteTransaction(connection, unit.notes)))
    except BaseException as error:
        unit.error = _told(error) if isinstance(error, sqlite3.DatabaseError) else error
        if not connection.in_transaction:  # the engine gave up the whole transaction
            raise Unavailable("storage_unavailable", "The store could not write.") from error
        return connection.total_changes == changes
    return True


def _finish(work: Coroutine[Any, Any, T] | Any) -> T:
    """Drive a unit of work to its end; its statements return at once, so it never suspends."""
    try:
        work.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    work.close()
    raise RuntimeError("a unit of work may await nothing but its transaction")


@contextmanager
def as_unavailable() -> Iterator[None]:
    """Tell the engine's faults apart by what the caller can do; a defect stays what it is."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        told = _told(error)
        if told is error:
            raise
        raise told from error


def _told(error: sqlite3.DatabaseError) -> Exception:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # misuse of the module has none
    if isinstance(error, sqlite3.IntegrityError):  # wrong data are the caller's to understand
        return error
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return damaged(str(error))
    if not isinstance(error, sqlite3.OperationalError) or code == sqlite3.SQLITE_ERROR:
        return error  # wrong SQL is a defect, not a fault
    return _fault(code)


def _fault(code: int) -> Unavailable:
    if code == sqlite3.SQLITE_FULL:
        return Unavailable("storage_full", "The server's disk is full.", status=507)
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return Unavailable("storage_busy", "The store is busy; try again.")
    why = _WHY.get(code, "")
    return Unavailable("storage_unavailable", f"The store cannot be used now.{why}")


_WHY = {
    sqlite3.SQLITE_CANTOPEN: " Its folder may not be written, or its disk is full.",
    sqlite3.SQLITE_IOERR: " Its disk fails, or is full.",
    sqlite3.SQLITE_READONLY: " It may not be written.",
}


def damaged(finding: str) -> Unusable:
    """Return the refusal to work with a file that is not sound."""
    shown = " ".join(finding.removeprefix("*** in database main ***").split())
    return Unusable(
        "store_damaged",
        f"The database is damaged: {shown}. Put back a backup with `tidings restore`.",
    )


def connect(path: Path) -> sqlite3.Connection:
    """Open the file as everything that works on it must have it open."""
    connection = sqlite3.connect(
        path,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=STATEMENTS_CACHED,
    )
    connection.execute(f"pragma busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    connection.execute("pragma temp_store = memory")
    connection.execute("pragma foreign_keys = on")
    connection.execute(f"pragma cache_size = -{CACHE_KIB}")
    connection.execute(f"pragma wal_autocheckpoint = {WAL_AUTOCHECKPOINT_PAGES}")
    return connection


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Let one process at a time open the file: turning on the WAL does not wait for others."""
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _migrate(connection: sqlite3.Connection) -> None:
    """Apply, under the file's write lock, the numbered migrations that it has not seen."""
    known = scripts()
    connection.execute("begin immediate")
    (version,) = connection.execute("pragma user_version").fetchone()
    if version > len(known):
        connection.rollback()
        raise too_new()
    for _, script in known[version:]:
        for statement in _statements(script):
            connection.execute(statement)
    connection.execute(f"pragma user_version = {len(known)}")
    connection.execute("commit")


def refuse_newer(connection: sqlite3.Connection) -> None:
    """Look at the version of the file's schema, and change nothing.

    Raises:
        Unavailable: `store_too_new`.
    """
    (version,) = connection.execute("pragma user_version").fetchone()
    if version > len(scripts()):
        raise too_new()


def _statements(script: str) -> Iterator[str]:
    """Split a script where SQLite says that a statement is complete."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
