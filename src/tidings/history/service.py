"""What is asked of the history: earlier events of a thread, usage by day, service levels."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from tidings.domain.context import SERVER, Scope, UserContext
from tidings.domain.errors import Unavailable
from tidings.domain.events import EventType, thread_stream
from tidings.domain.levels import APPEND_TO_SEND, BUCKET_BOUNDS, SEND_TO_ACK, quantile
from tidings.domain.ports import Clock
from tidings.domain.times import rfc3339
from tidings.events import log
from tidings.events.ranges import Entry, joined
from tidings.history import ended
from tidings.storage.cold.port import EVENTS_ASKED_MAX, ColdStore, Days, PastEvent, RunLine
from tidings.storage.warm.objects import Kind, fetch_owned
from tidings.storage.warm.port import Database, Transaction

DAYS_MAX = 400
PAGE_EVENTS_MAX = 1_000

_log = logging.getLogger(__name__)
_SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class History:
    """Answers from the log and the cold tier together."""

    def __init__(self, database: Database, store: ColdStore, clock: Clock) -> None:
        self._database = database
        self._store = store
        self._clock = clock

    async def page(
        self, context: UserContext, thread_id: str, before: int | None, limit: int
    ) -> dict[str, Any]:
        """Return events of a thread before an offset, or the newest, oldest first.

        From the log what it keeps, from the cold tier what is older. An answer is never cut: the
        page that has its end has all of it. `before` is where to go on, null at the beginning;
        `missing` is how many offsets within the page are nowhere.

        Raises:
            NotFound: the user has no such thread.
            Unavailable: `cold_unavailable`: the log has nothing more.
        """
        limit = max(1, min(limit, PAGE_EVENTS_MAX))
        kept = await self._database.read(
            context, lambda tx: _kept(tx, context, thread_id, before, limit)
        )
        entries, is_all = list(joined(kept.entries)), kept.is_all and kept.first == 1
        if kept.is_all and kept.first > 1 and len(entries) < limit:
            wanted = min(limit - len(entries), EVENTS_ASKED_MAX)
            end = min(kept.first, kept.before)
            try:
                older, is_all = await self._older(context, thread_id, end, wanted)
            except Unavailable:
                if not entries:
                    raise
            else:
                entries = [*_entries(older), *entries]
        begins = 1 if is_all or not entries else entries[0].first
        there = sum(entry.offset - entry.first + 1 for entry in entries)
        return {
            "events": [msgspec.Raw(entry.frame) for entry in entries],
            "before": begins if begins > 1 else None,
            "missing": max(0, kept.before - begins - there),
        }

    async def _older(
        self, context: UserContext, thread_id: str, before: int, wanted: int
    ) -> tuple[list[PastEvent], bool]:
        """Return so many events before an offset, newest first, and whether these are all."""
        older: list[PastEvent] = []
        while len(older) < wanted:
            page = await self._store.events(context, thread_id, before, wanted)
            older += await self._known(context, page)
            if len(page) < wanted:
                return older[:wanted], len(older) <= wanted
            before = page[-1].first
        return older[:wanted], False

    async def _known(self, scope: Scope, page: list[PastEvent]) -> list[PastEvent]:
        """Return events of runs whose export the warm tier knows of.

        After a restore there may be others: of runs that never were, or that go on again.
        """
        runs = [_place.decode(past.frame).run_id for past in page]
        known = await self._database.read(scope, lambda tx: ended.known(tx, set(runs)))
        return [past for past, run in zip(page, runs, strict=True) if run in known]

    async def usage(self, scope: Scope, days: int) -> dict[str, Any]:
        """Return what was taken in so many days, by day, user and model.

        It is complete up to `complete_to` (RFC 3339): what ended later may be missing.
        """
        lines = await self._store.usage(scope, self._last(days))
        return {"days": lines, "complete_to": await self._complete_to()}

    async def levels(self, days: int) -> dict[str, Any]:
        """Return how well users were served in so many days, over all of them."""
        asked = self._last(days)
        counts = {what: [0] * (len(BUCKET_BOUNDS) + 1) for what in (APPEND_TO_SEND, SEND_TO_ACK)}
        for line in await self._store.latencies(SERVER, asked):
            counts[line.what][line.bucket] += line.count
        runs = await self._store.runs(SERVER, asked)
        sent, acked = (sum(counts[what]) for what in (APPEND_TO_SEND, SEND_TO_ACK))
        return {
            "latencies": {what: _shown(found) for what, found in counts.items()},
            "acknowledged": acked / sent if sent else None,
            "runs": [_run(line) for line in runs],
            "complete_to": await self._complete_to(),
        }

    async def story(self, object_id: str) -> list[bytes]:
        """Return the frames of a run or a thread, oldest first, whoever's it is: for the operator.

        While the cold tier is away, what the log has.
        """
        frames = await self._old_story(object_id)
        stored = await self._database.read(SERVER, lambda tx: log.stored_events(tx, object_id))
        for frame in stored:
            frames[_place.decode(frame).offset] = frame
        return [frame for _, frame in sorted(frames.items())]

    async def _old_story(self, object_id: str) -> dict[int, bytes]:
        """Return what the cold tier has of a run or a thread, by offset."""
        frames: dict[int, bytes] = {}
        after = 0
        try:
            while page := await self._store.story(SERVER, object_id, after):
                known = await self._known(SERVER, page)
                frames |= {found.last: found.frame.encode() for found in known}
                after = page[-1].last
                if len(page) < EVENTS_ASKED_MAX:
                    break
        except Unavailable as error:
            _log.warning("only what the log has: %s", error)
        return frames

    async def _complete_to(self) -> str:
        waiting = await self._database.read(SERVER, ended.backlog)
        now = self._clock.now()
        return rfc3339(now if waiting.oldest is None else min(now, waiting.oldest))

    def _last(self, days: int) -> Days:
        """Return the last so many days, today included."""
        today = datetime.fromtimestamp(self._clock.now(), UTC).date()
        first = today - timedelta(days=max(1, min(days, DAYS_MAX)) - 1)
        return Days(first.isoformat(), today.isoformat())


class _Place(msgspec.Struct):
    offset: int
    run_id: str | None = None


_place = msgspec.json.Decoder(_Place)


class _Kept(NamedTuple):
    """What the log keeps of a page: all before its end, or as much as was asked for."""

    entries: list[Entry]
    is_all: bool
    first: int
    before: int


async def _kept(
    tx: Transaction, context: UserContext, thread_id: str, before: int | None, limit: int
) -> _Kept:
    stream = thread_stream(thread_id)
    head, first = await fetch_owned(tx, context, Kind.STREAM, stream, "head, first_offset")
    end = min(before or head + 1, head + 1)
    rows = await tx.execute(
        'select "offset", type from events where stream = ? and "offset" >= ? and "offset" < ?'
        ' and length(frame) > 0 order by "offset" desc limit ?',
        stream,
        first,
        end,
        limit,
    )
    begins, type_ = rows[-1] if rows else (end, "")
    if type_ == EventType.ANSWER_DELTA:
        begins = max(first, await _beginning(tx, stream, begins))
    rows = await tx.execute(
        'select "offset", frame, joined from events where stream = ? and "offset" >= ?'
        ' and "offset" < ? and length(frame) > 0 order by "offset"',
        stream,
        begins,
        end,
    )
    entries = [Entry(at, bytes(frame), at - had) for at, frame, had in rows]
    return _Kept(entries, begins <= first or len(rows) < limit, first, end)


async def _beginning(tx: Transaction, stream: str, within: int) -> int:
    """Return the offset of the first of the neighbouring pieces that an offset is among."""
    ((before,),) = await tx.execute(
        'select coalesce(max("offset"), 0) from events'
        ' where stream = ? and "offset" < ? and type <> ?',
        stream,
        within,
        EventType.ANSWER_DELTA,
    )
    return int(before) + 1


def _entries(page: list[PastEvent]) -> list[Entry]:
    return [Entry(found.last, found.frame.encode(), found.first) for found in reversed(page)]


def _shown(counts: list[int]) -> dict[str, Any]:
    """Return a histogram with what people read of it; seconds, null beyond the last bound."""
    shares = {name: quantile(counts, share) for name, share in _SHARES.items()}
    return {"count": sum(counts), **shares, "buckets": counts}


def _run(line: RunLine) -> dict[str, Any]:
    return {
        "agent": line.agent,
        "outcome": line.outcome,
        "runs": line.runs,
        "delivered": line.delivered,
        "quality": line.quality,
        "rated": line.rated,
        "seconds": _shown(line.seconds),
    }
