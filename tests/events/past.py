"""A real log with runs that ended when a test says."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from tests.fakes.ports import CountingIds
from tests.stores import store_in
from tidings.domain.context import SERVER, UserContext
from tidings.domain.cursors import cursor_of
from tidings.domain.events import Draft, Event, EventType, thread_stream, user_stream
from tidings.events import log
from tidings.events.feed import Feed
from tidings.storage.hot.memory import LocalHints
from tidings.storage.warm.port import Store, Transaction

ANA = UserContext("default", "ana", "s1")
THREAD = "t1"
STREAM = thread_stream(THREAD)
MINE = user_stream(ANA.user_id)
LONG_AGO = 1_000_000.0


class Past:
    """Appends events of runs, and ends runs, at times of the test's choosing."""

    def __init__(self, database: Store, hints: LocalHints) -> None:
        self.database = database
        self.hints = hints
        self.feed = Feed(database, hints)
        self.ids = CountingIds()

    async def begin(self) -> None:
        async def work(tx: Transaction) -> None:
            await log.open_store(tx, "s_000k3f9ab", LONG_AGO)
            await tx.execute(
                "insert into threads (thread_id, user_id, title, created_at)"
                " values (?, 'ana', 'A thread', 0)",
                THREAD,
            )
            for stream in (STREAM, MINE):
                await log.open_stream(tx, ANA, stream)

        await self.database.write(SERVER, work)

    async def append(
        self, run_id: str | None, *told: tuple[EventType, dict[str, Any]], at: float = LONG_AGO
    ) -> None:
        stream = STREAM if run_id else MINE
        drafts = [Draft(self.ids.new("e"), t, p, run_id=run_id, thread_id=THREAD) for t, p in told]
        await self.database.write(ANA, lambda tx: log.append(tx, ANA, stream, drafts, at))

    async def open_run(self, run_id: str, at: float = LONG_AGO) -> None:
        await self.database.write(
            SERVER, lambda tx: tx.execute(
                "insert into runs (run_id, user_id, tenant_id, session_id, thread_id, agent,"
                " request, state, created_at, deadline_at)"
                " values (?, 'ana', 'default', 's1', ?, 'a', '{}', 'running', ?, ?)",
                run_id, THREAD, at, at + 300,
            )
        )  # fmt: skip
        await self.append(run_id, (EventType.MESSAGE_RECEIVED, {"text": run_id}), at=at)

    async def end_run(self, run_id: str, at: float = LONG_AGO, *, exported: bool = True) -> None:
        await self.append(run_id, (EventType.AGENT_COMPLETED, {"answer": f"of {run_id}"}), at=at)
        await self.database.write(
            SERVER,
            lambda tx: tx.execute(
                "update runs set state = 'ended', status = 'completed',"
                " ended_at = ?, exported_at = ?"
                " where run_id = ?",
                at,
                at if exported else None,
                run_id,
            ),
        )

    async def whole_run(self, run_id: str, notices: int = 3, at: float = LONG_AGO) -> None:
        await self.open_run(run_id, at)
        await self.append(run_id, *[(EventType.NOTICE, {"n": n}) for n in range(notices)], at=at)
        await self.end_run(run_id, at)

    async def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return await self.database.read(SERVER, lambda tx: tx.execute(sql, *values))

    async def read(self, after: int, limit: int = 1_000, stream: str = STREAM) -> list[Event]:
        _, entries = await self.database.read(
            ANA, lambda tx: log.read_after(tx, ANA, stream, after, limit)
        )
        return [msgspec.json.decode(entry.frame, type=Event) for entry in entries]

    async def read_all(self, after: int, limit: int, stream: str = STREAM) -> list[Event]:
        """Read to the head in pages, as a client that catches up; check that there is no hole."""
        events: list[Event] = []
        while page := await self.read(after, limit, stream):
            for event in page:
                assert event.first == after + 1
                after = event.offset
            events += page
        return events

    async def cursors(self, stream: str = STREAM) -> list[str]:
        """Return the cursor of every event that is still kept, by offset."""
        (first,) = (await self.rows("select first_offset from streams where stream = ?", stream))[0]
        events = await self.read(first - 1, stream=stream)
        return [str(cursor_of(e.epoch, e.offset, e.event_id)) for e in events]

    async def locate(self, cursor: str, stream: str = STREAM) -> log.Place:
        return await self.database.read(ANA, lambda tx: log.locate(tx, ANA, stream, cursor))


@asynccontextmanager
async def past(folder: Path) -> AsyncIterator[Past]:
    hints = LocalHints()
    database = store_in(folder, hints.publish)
    try:
        opened = Past(database, hints)
        await opened.begin()
        yield opened
    finally:
        await database.close()


Scenario = Callable[[Past], Awaitable[None]]
