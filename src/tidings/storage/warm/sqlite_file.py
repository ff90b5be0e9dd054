"""The embedded warm tier as a file: copied while it is worked on, examined, and replaced."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tidings.domain.errors import InvalidInput, Unusable
from tidings.storage.marks import Mark, sync
from tidings.storage.warm.migrations import scripts
from tidings.storage.warm.port import Loss
from tidings.storage.warm.sqlite import alone, as_unavailable, connect, damaged, refuse_newer

_COMPANIONS = ("-wal", "-shm")


class SqliteFile:
    """Implements `StoreFile`. Another process may have the file open."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def copy_to(self, target: Path) -> None:
        """Read everything in one transaction into a fresh file, without the space that is free."""
        with as_unavailable(), closing(connect(self._path)) as connection:
            connection.execute("vacuum into ?", (str(target),))
        sync(target)  # the engine leaves that to us

    def raise_generation(self) -> Mark:
        with as_unavailable(), closing(connect(self._path)) as connection:
            rows = connection.execute(
                "update store set generation = generation + 1 returning store_id, generation"
            ).fetchall()
            if not rows:
                raise InvalidInput("no_store", "No server has ever worked here; start one first.")
            return Mark(*rows[0])

    def check(self) -> Mark:
        with self._at_rest() as connection:
            ((finding,),) = connection.execute("pragma quick_check(1)").fetchall()
            if finding != "ok":
                raise damaged(finding)
            refuse_newer(connection)
            try:
                rows = connection.execute("select store_id, generation from store").fetchall()
                return Mark(*rows[0])
            except (sqlite3.OperationalError, IndexError):
                raise InvalidInput("not_a_backup", f"{self._path} is no store.") from None

    def check_version(self) -> None:
        """See, without a change, that the schema is this version's.

        Raises:
            Unusable: `store_outdated`, `store_too_new`.
        """
        with as_unavailable(), closing(sqlite3.connect(_uri(self._path), uri=True)) as connection:
            refuse_newer(connection)
            ((version,),) = connection.execute("pragma user_version").fetchall()
            if version < len(scripts()):
                raise Unusable(
                    "store_outdated",
                    f"{self._path} is of an older version: run `tidings migrate` there first.",
                )

    def lost_by(self, other: Path) -> Loss:
        with as_unavailable(), closing(sqlite3.connect(_uri(self._path), uri=True)) as connection:
            connection.execute("attach ? as other", (_uri(other, "immutable=1"),))
            (events,) = connection.execute(
                "select count(*) from main.events e where not exists"
                " (select 1 from other.events o where o.event_id = e.event_id)"
            ).fetchone()
            (threads,) = connection.execute(
                "select count(*) from main.threads t where not exists"
                " (select 1 from other.threads o where o.thread_id = t.thread_id)"
            ).fetchone()
            connection.execute("pragma wal_checkpoint(truncate)")
            return Loss(events, threads)

    def data_sets(self) -> list[str]:
        with self._at_rest() as connection:
            rows = connection.execute(
                "select user_id, file_id from files where import_report is not null"
            )
            return [f"{user_id}/{file_id}" for user_id, file_id in rows]

    def replace_by(self, newer: Path, aside: Path) -> None:
        with alone(self._path):
            for suffix in _COMPANIONS:  # left by a process that was cut off: they belong to it
                companion = self._path.with_name(self._path.name + suffix)
                if companion.exists():
                    companion.rename(aside / companion.name)
            sync(aside)
            sync(self._path.parent)  # the newer file must never be found beside their log
            if self._path.exists():
                os.link(self._path, aside / self._path.name)
            newer.replace(self._path)
            sync(self._path.parent)
            sync(aside)

    @contextmanager
    def _at_rest(self) -> Iterator[sqlite3.Connection]:
        """Open a file that nobody writes, without leaving anything beside it."""
        uri = _uri(self._path, "immutable=1")
        with as_unavailable(), closing(sqlite3.connect(uri, uri=True)) as connection:
            yield connection


def _uri(path: Path, options: str = "mode=rw") -> str:
    return f"{path.resolve().as_uri()}?{options}"
