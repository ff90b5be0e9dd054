"""The store of the machine: real statements on SQLite in memory; slow, failing and restorable."""

import asyncio
import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from tests.invariants import LoggedEvent, LoggedStreams
from tests.machine.stepping import SteppingLoop, tick
from tidings.domain.context import Scope
from tidings.domain.errors import Unavailable
from tidings.domain.events import Event
from tidings.events.log import Appended, Removed
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
class StoreCopy:
    """A copy of the store, and what had been committed when it was made."""

    data: bytes
    committed: dict[str, Committed]


@dataclass(slots=True)
class Books:
    """What the machine knows of the store without asking it: every event ever, by its id.

    `lost` is what a rewind took away, or went with its thread.
    """

    committed: dict[str, Committed] = field(default_factory=dict)
    lost: dict[str, Committed] = field(default_factory=dict)
    heads: dict[str, int] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    rewinds: int = 0
    removed: set[str] = field(default_factory=set)

    def note(self, note: Appended | Removed, step: int) -> None:
        """Take note of what was committed."""
        if isinstance(note, Appended):
            for entry in note.entries:
                id_ = msgspec.json.decode(entry.frame, type=Event).event_id
                self.committed[id_] = Committed(note.stream, entry.offset, entry.frame, step)
                self.heads[note.stream] = entry.offset
        else:
            gone = [id_ for id_, kept in self.committed.items() if kept.stream == note.stream]
            self.lost.update({id_: self.committed.pop(id_) for id_ in gone})
            self.heads.pop(note.stream, None)
            self.removed.add(note.stream)

    def went_back(self, backup: StoreCopy, heads: dict[str, int]) -> None:
        """Take note that an older copy is in the place of the store."""
        self.rewinds += 1
        gone = self.committed.keys() - backup.committed.keys()
        self.lost.update({key: self.committed[key] for key in gone})
        for key in self.lost.keys() & backup.committed.keys():
            del self.lost[key]
        self.committed, self.heads = dict(backup.committed), heads
        self.removed -= heads.keys()


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
        self.failed = 0
        self.hints: list[object] = []
        self._announce = announce
        self._loop = loop
        self._rng = rng
        self._waiting: list[asyncio.Future[None]] = []
        self.connection = _opened(EMPTY)

    async def write(self, scope: Scope, work: Work[T]) -> T:
        failure = self._next_failure()
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

    async def read(self, scope: Scope, work: Work[T]) -> T:
        failure = self._next_failure()
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

    def copy(self) -> StoreCopy:
        return StoreCopy(self.connection.serialize(), dict(self.books.committed))

    def restore(self, backup: StoreCopy) -> None:
        """Put an older copy in the place of the store."""
        self.connection.close()
        self.connection = _opened(backup.data)
        heads = dict(self.connection.execute("select stream, head from streams"))
        self.books.went_back(backup, heads)

    def begin_epoch(self, epoch: str) -> None:
        """Name a new lineage, as a restore does."""
        for table in ("store", "streams"):
            self.connection.execute(f"update {table} set epoch = ?", (epoch,))

    def floor(self, stream: str) -> int:
        """Return the first offset that is kept."""
        rows = self.connection.execute(
            "select first_offset from streams where stream = ?", (stream,)
        ).fetchall()
        return int(rows[0][0]) if rows else 1

    def logged(self) -> LoggedStreams:
        """Return everything, as the checker wants it."""
        rows = self.connection.execute(
            'select e.stream, e."offset" - e.joined, e.frame from events e join streams s'
            ' on s.stream = e.stream and e."offset" >= s.first_offset'
            ' where length(e.frame) > 0 order by e.stream, e."offset"'
        ).fetchall()
        steps = {(c.stream, c.offset): c.step for c in self.books.committed.values()}
        owners = dict(self.connection.execute("select stream, user_id from streams"))
        firsts = dict(self.connection.execute("select stream, first_offset from streams"))
        return LoggedStreams(
            [LoggedEvent(frame, steps[stream, first]) for stream, first, frame in rows],
            self.books.owners | owners,
            firsts,
            frozenset(lost.frame for lost in self.books.lost.values()),
        )

    def _next_failure(self) -> str:
        if not self.failures:
            return ""
        self.failed += 1
        return self.failures.pop()

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
            if isinstance(note, Appended) and note.stream not in self.books.owners:
                owner = "select user_id from streams where stream = ?"
                ((user_id,),) = self.connection.execute(owner, (note.stream,))
                self.books.owners[note.stream] = user_id
            if isinstance(note, Appended | Removed):
                self.books.note(note, self.step)


def _opened(data: bytes) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.deserialize(data)
    return connection
