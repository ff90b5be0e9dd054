"""The store of the machine: real statements on SQLite in memory; slow, failing and restorable."""

import asyncio
import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from tests.invariants import LoggedEvent, LoggedStreams
from tests.machine.stepping import SteppingLoop, tick
from tidings.domain.errors import Unavailable
from tidings.domain.events import Event
from tidings.events.log import Appended
from tidings.storage.warm.port import T, Work
from tidings.storage.warm.sqlite import SqliteTransaction, _finish, _migrate


@dataclass(frozen=True, slots=True)
class Committed:
    """An event as it became durable, and at which step of the machine."""

    stream: str
    offset: int
    frame: bytes
    step: int


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy of the store, and what had been committed when it was made."""

    data: bytes
    committed: dict[str, Committed]


@dataclass(slots=True)
class Books:
    """What the machine knows of the store without asking it: every event ever, by its id."""

    committed: dict[str, Committed] = field(default_factory=dict)
    lost: dict[str, Committed] = field(default_factory=dict)
    heads: dict[str, int] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    rewinds: int = 0


def _template() -> bytes:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    _migrate(connection)
    data = connection.serialize()
    connection.close()
    return data


EMPTY = _template()


class SteppedDatabase:
    """Implements the warm port. Between a call and its unit, and between the commit and the reply,
    others run; when `slow`, for as long as the machine likes."""

    def __init__(
        self, loop: SteppingLoop, rng: random.Random, announce: Callable[[object], None]
    ) -> None:
        self.books = Books()
        self.step = 0
        self.slow = False
        self.failures: list[str] = []
        self.hints: list[object] = []
        self._announce = announce
        self._loop = loop
        self._rng = rng
        self._waiting: list[asyncio.Future[None]] = []
        self.connection = _opened(EMPTY)

    async def write(self, work: Work[T]) -> T:
        failure = self.failures.pop() if self.failures else ""
        await self._pause()
        if failure == "before":
            raise Unavailable("storage_unavailable", "Injected: not written.")
        notes: list[object] = []
        result = self._unit(work, notes)
        self._note(notes)
        for note in notes:
            self._announce(note)
        await self._pause()
        if failure == "after":
            raise Unavailable("storage_unavailable", "Injected: written, but the reply is lost.")
        return result

    async def read(self, work: Work[T]) -> T:
        failure = self.failures.pop() if self.failures else ""
        await self._pause()
        if failure:
            raise Unavailable("storage_unavailable", "Injected: not read.")
        result = self._unit(work, [])
        await self._pause()
        return result

    def at_once(self, work: Work[T]) -> T:
        """Do a unit of work outside time: what an operator or another process would do."""
        notes: list[object] = []
        result = self._unit(work, notes)
        self._note(notes)
        return result

    def release(self, count: int | None = None) -> None:
        """Let so many of the waiting operations go on, in any order; None: all."""
        count = len(self._waiting) if count is None else min(count, len(self._waiting))
        for _ in range(count):
            waiting = self._waiting.pop(self._rng.randrange(len(self._waiting)))
            if not waiting.done():
                waiting.set_result(None)

    def copy(self) -> Backup:
        return Backup(self.connection.serialize(), dict(self.books.committed))

    def restore(self, backup: Backup) -> None:
        """Put an older copy in the place of the store."""
        self.logged()  # notes who had the streams that are lost
        self.connection.close()
        self.connection = _opened(backup.data)
        self.books.rewinds += 1
        gone = self.books.committed.keys() - backup.committed.keys()
        self.books.lost.update({key: self.books.committed[key] for key in gone})
        self.books.committed = dict(backup.committed)
        for key in self.books.lost.keys() & backup.committed.keys():
            del self.books.lost[key]
        self.books.heads = dict(self.connection.execute("select stream, head from streams"))

    def floor(self, stream: str) -> int:
        """Return the first offset that is kept."""
        rows = self.connection.execute(
            "select first_offset from streams where stream = ?", (stream,)
        ).fetchall()
        return int(rows[0][0]) if rows else 1

    def logged(self) -> LoggedStreams:
        """Return everything, as the checker wants it."""
        rows = self.connection.execute(
            'select frame, event_id from events where length(frame) > 0 order by stream, "offset"'
        ).fetchall()
        streams = self.connection.execute("select stream, user_id, first_offset from streams")
        firsts = {}
        for stream, owner, first in streams:
            self.books.owners[stream], firsts[stream] = owner, first
        return LoggedStreams(
            [LoggedEvent(frame, self.books.committed[id_].step) for frame, id_ in rows],
            self.books.owners,
            firsts,
            frozenset(lost.frame for lost in self.books.lost.values()),
        )

    async def _pause(self) -> None:
        if not self.slow:
            await tick()
            return
        waiting = self._loop.create_future()
        self._waiting.append(waiting)
        await waiting

    def _unit(self, work: Work[T], notes: list[object]) -> T:
        self.connection.execute("begin")
        try:
            result: T = _finish(work(SqliteTransaction(self.connection, notes)))
        except BaseException:
            self.connection.execute("rollback")
            raise
        self.connection.execute("commit")
        return result

    def _note(self, notes: list[object]) -> None:
        for note in notes:
            if isinstance(note, Appended):
                for entry in note.entries:
                    id_ = msgspec.json.decode(entry.frame, type=Event).event_id
                    kept = Committed(note.stream, entry.offset, entry.frame, self.step)
                    self.books.committed[id_] = kept
                    self.books.heads[note.stream] = entry.offset


def _opened(data: bytes) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.deserialize(data)
    return connection
