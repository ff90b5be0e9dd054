"""The one door for reads: a user's threads, runs, events and snapshots."""

from typing import Any

import msgspec

from tidings.domain.commands import IfBusy, check_text
from tidings.domain.context import UserContext
from tidings.domain.cursors import FROM_HEAD
from tidings.domain.errors import NotFound
from tidings.domain.events import Event, thread_stream
from tidings.domain.ports import Clock, IdSource
from tidings.domain.times import rfc3339
from tidings.events import log
from tidings.events.ranges import Entry, joined
from tidings.router import threads
from tidings.storage.warm.objects import Kind, fetch_owned
from tidings.storage.warm.port import Database, Row, Transaction

PAGE_EVENTS_MAX = 1_000
PAGE_THREADS_MAX = 200
SNAPSHOT_EVENTS_MAX = 10_000

_RUN = (
    "run_id, thread_id, agent, state, status, created_at, deadline_at, ended_at, attempt, report_id"
)


class Reads:
    """Answers what a user may see. Every method raises NotFound for what is not the user's."""

    def __init__(self, database: Database, clock: Clock, ids: IdSource) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids

    async def threads(
        self, context: UserContext, limit: int, before: str | None
    ) -> list[dict[str, Any]]:
        """Return a page of threads, newest first."""
        limit = max(1, min(limit, PAGE_THREADS_MAX))
        return await self._database.read(
            context, lambda tx: threads.newest(tx, context, limit, before)
        )

    async def create_thread(self, context: UserContext, title: str) -> dict[str, Any]:
        """Begin an empty thread."""
        check_text(title)
        thread_id, event_id, now = self._ids.new("t"), self._ids.new("e"), self._clock.now()

        async def work(tx: Transaction) -> dict[str, Any]:
            short = threads.title_of(title)
            await threads.begin(tx, context, thread_id, short, event_id, now=now)
            return await threads.one(tx, context, thread_id)

        return await self._database.write(context, work)

    async def thread(self, context: UserContext, thread_id: str) -> dict[str, Any]:
        """Return a thread and its runs."""

        async def work(tx: Transaction) -> dict[str, Any]:
            thread = await threads.one(tx, context, thread_id)
            return thread | {"runs": await _runs(tx, thread_id)}

        return await self._database.read(context, work)

    async def change_thread(
        self, context: UserContext, thread_id: str, title: str | None, if_busy: IfBusy | None
    ) -> None:
        """Give a thread another title, or another way with messages while it is busy."""
        if title is not None:
            check_text(title)
            title = threads.title_of(title)
        await self._database.write(
            context, lambda tx: threads.change(tx, context, thread_id, title, if_busy)
        )

    async def delete_thread(self, context: UserContext, thread_id: str) -> None:
        """Remove a thread for good; Conflict while a run in it is open."""
        await self._database.write(context, lambda tx: threads.delete(tx, context, thread_id))

    async def run(self, context: UserContext, run_id: str) -> dict[str, Any]:
        """Return how a run stands."""
        return _run(
            await self._database.read(
                context, lambda tx: fetch_owned(tx, context, Kind.RUN, run_id, _RUN)
            )
        )

    async def call(self, context: UserContext, run_id: str, call_id: str) -> bytes:
        """Return how a tool call of a run ended, with the whole of its result, as JSON."""

        async def work(tx: Transaction) -> bytes:
            await fetch_owned(tx, context, Kind.RUN, run_id, "1")
            rows = await tx.execute(
                "select result from steps where run_id = ? and key = ? and kind = 'tool'"
                " and result is not null",
                run_id,
                call_id,
            )
            if not rows:
                raise NotFound
            return bytes(rows[0][0])

        return await self._database.read(context, work)

    async def events(
        self, context: UserContext, stream: str, after: str, limit: int
    ) -> dict[str, Any]:
        """Return a page of a stream's events, and the cursor to go on from.

        `after` is an offset, a cursor, `0` or `live`.
        """
        limit = max(1, min(limit, PAGE_EVENTS_MAX))

        async def work(tx: Transaction) -> dict[str, Any]:
            place = await log.locate(tx, context, stream, after)
            _, entries = await log.read_after(tx, context, stream, place.after, limit)
            reached = entries[-1].offset if entries else place.after
            return {
                "events": [msgspec.Raw(entry.frame) for entry in joined(entries)],
                "head": place.head,
                "cursor": await log.cursor_at(tx, stream, place.epoch, reached),
            }

        return await self._database.read(context, work)

    async def snapshot(self, context: UserContext, thread_id: str) -> dict[str, Any]:
        """Return a thread's state and the cursor it stands at, read together.

        The state is what a client needs to show the thread without its history: messages, for each
        run its state and its end, and of runs that have not ended what they have told so far.
        Following from the cursor misses nothing and repeats nothing.
        """
        stream = thread_stream(thread_id)

        async def work(tx: Transaction) -> dict[str, Any]:
            thread = await threads.one(tx, context, thread_id)
            place = await log.locate(tx, context, stream, FROM_HEAD)
            return {
                "thread": thread,
                "runs": await _runs(tx, thread_id),
                "messages": await _messages(tx, stream),
                "open_events": await _open_events(tx, thread_id),
                "cursor": await log.cursor_at(tx, stream, place.epoch, place.head),
            }

        return await self._database.read(context, work)


async def _runs(tx: Transaction, thread_id: str) -> list[dict[str, Any]]:
    rows = await tx.execute(
        f"select {_RUN} from runs where thread_id = ? order by run_id",  # noqa: S608 - a constant
        thread_id,
    )
    return [_run(row) for row in rows]


async def _messages(tx: Transaction, stream: str) -> list[dict[str, Any]]:
    """Return who said what: messages of the user and ends of runs, the newest, oldest first."""
    rows = await tx.execute(
        "select frame from events where stream = ? and type in"
        " ('message_received', 'agent_completed', 'agent_failed', 'agent_cancelled')"
        ' order by "offset" desc limit ?',
        stream,
        SNAPSHOT_EVENTS_MAX,
    )
    events = [msgspec.json.decode(frame, type=Event) for (frame,) in reversed(rows)]
    return [
        {"type": e.type, "run_id": e.run_id, "timestamp": e.timestamp, "payload": e.payload}
        for e in events
    ]


async def _open_events(tx: Transaction, thread_id: str) -> list[msgspec.Raw]:
    """Return what the thread's open runs have told, as on the wire; pieces of answers joined."""
    rows = await tx.execute(
        'select e."offset", e.frame from events e join runs r on r.run_id = e.run_id'
        " where r.thread_id = ? and r.state <> 'ended' order by e.\"offset\"",
        thread_id,
    )
    entries = [Entry(offset, bytes(frame), offset) for offset, frame in rows]
    return [msgspec.Raw(entry.frame) for entry in joined(entries)]


def _run(row: Row) -> dict[str, Any]:
    run_id, thread_id, agent, state, status, created, deadline, ended, attempt, report_id = row
    return {
        "run_id": run_id,
        "thread_id": thread_id,
        "agent": agent,
        "state": state,
        "status": status,
        "created_at": rfc3339(created),
        "deadline_at": rfc3339(deadline),
        "ended_at": None if ended is None else rfc3339(ended),
        "attempt": attempt,
        "report_id": report_id,
    }
