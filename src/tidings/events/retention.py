"""Retention: what is older than the policy wants leaves the log, in whole ended runs.

The first offset that is kept moves up; a reader behind it is told. What the snapshot of a thread is
made of stays below it: what the user said, and how the runs ended. So does the row right below it,
without its frame, so that a cursor which has everything before can still be checked.

A run that is not in the cold tier yet counts as HELD_SECONDS younger: the log is the spool of the
exporter, and bounded.
"""

from functools import partial

import msgspec

from tidings.domain.context import SERVER
from tidings.domain.events import TERMINAL, EventType
from tidings.storage.warm.port import Database, Row, Transaction

ROWS_PER_BATCH_MAX = 500
STREAMS_PER_READ_MAX = 500
HELD_SECONDS = 7 * 86_400.0
"""How much longer than the policy wants a run is kept that could not be exported."""

ENDED_AT = f"r.ended_at + case when r.exported_at is null then {HELD_SECONDS} else 0.0 end"
"""The time that counts for an ended run `r`; null while it has not ended."""

_KEPT = sorted(str(type_) for type_ in TERMINAL | {EventType.MESSAGE_RECEIVED})
_MARKS = ", ".join("?" * len(_KEPT))


class Trimmed(msgspec.Struct, frozen=True):
    """A note for whoever counts: so many offsets are behind what is kept.

    `lost` is how many events are nowhere any more: they were let go of before they were exported.
    """

    events: int
    lost: int = 0


async def trim(database: Database, before: float) -> None:
    """Let go of events that are older than a time, in seconds since 1970.

    Of a run it is the end that counts, and all of its events go; of an event that belongs to no
    run, the event. Each transaction reads or writes ROWS_PER_BATCH_MAX rows at most. Repeating it,
    also after a crash in the middle, goes on where it was.
    """
    stream = ""
    while True:
        page = await database.read(SERVER, partial(_oldest, after=stream))
        for stream, first, appended_at in page:
            if appended_at < before:
                await _trim_stream(database, stream, first, before)
        if len(page) < STREAMS_PER_READ_MAX:
            return


async def _oldest(tx: Transaction, after: str) -> list[Row]:
    """Return a page of streams: name, first kept offset, and when its event was appended."""
    return await tx.execute(
        "select s.stream, s.first_offset, coalesce(e.appended_at, 9e99) from"
        " (select stream, first_offset from streams where stream > ? order by stream limit ?) s"
        ' left join events e on e.stream = s.stream and e."offset" = s.first_offset'
        " order by s.stream",
        after,
        STREAMS_PER_READ_MAX,
    )


async def _trim_stream(database: Database, stream: str, first: int, before: float) -> None:
    last = await _last_old(database, stream, first, before)
    while first <= last:
        reached = min(first + ROWS_PER_BATCH_MAX - 1, last)
        await database.write(SERVER, partial(_remove, stream=stream, first=first, last=reached))
        first = reached + 1


async def _last_old(database: Database, stream: str, first: int, before: float) -> int:
    """Return the last offset up to which there is nothing but old events and whole old runs."""
    reached = last = first - 1
    begun: set[str] = set()
    while True:
        rows = await database.read(SERVER, partial(_ages, stream=stream, after=reached))
        for offset, type_, run_id, at in rows:
            if at is None or at >= before:
                return last
            if type_ in TERMINAL:
                begun.discard(run_id)
            elif run_id is not None:
                begun.add(run_id)
            if not begun:
                last = offset
        if len(rows) < ROWS_PER_BATCH_MAX:
            return last
        reached = rows[-1][0]


async def _ages(tx: Transaction, stream: str, after: int) -> list[Row]:
    """Return events with the time that counts for them, null while their run has not ended."""
    return await tx.execute(
        'select e."offset", e.type, r.run_id,'  # noqa: S608 - a constant
        f" case when r.run_id is null then e.appended_at else {ENDED_AT} end"
        " from events e left join runs r on r.run_id = e.run_id"
        ' where e.stream = ? and e."offset" > ? order by e."offset" limit ?',
        stream,
        after,
        ROWS_PER_BATCH_MAX,
    )


async def _remove(tx: Transaction, stream: str, first: int, last: int) -> None:
    """Let a stream begin behind `last`; `first` is where it began."""
    moved = await tx.execute(
        "update streams set first_offset = ? where stream = ? and first_offset = ? returning 1",
        last + 1,
        stream,
        first,
    )
    if not moved:
        return  # the thread was deleted meanwhile
    ((lost,),) = await tx.execute(
        "select count(*) from events e join runs r on r.run_id = e.run_id"  # noqa: S608 - marks
        ' where e.stream = ? and e."offset" >= ? and e."offset" <= ? and r.exported_at is null'
        f" and length(e.frame) > 0 and e.type not in ({_MARKS})",
        stream,
        first,
        last,
        *_KEPT,
    )
    await tx.execute(
        'delete from events where stream = ? and "offset" >= ? and "offset" < ?'  # noqa: S608
        f" and type not in ({_MARKS})",
        stream,
        first - 1,
        last,
        *_KEPT,
    )
    await tx.execute(
        f'update events set frame = ? where stream = ? and "offset" = ? and type not in ({_MARKS})',  # noqa: S608
        b"",
        stream,
        last,
        *_KEPT,
    )
    tx.announce(Trimmed(last - first + 1, lost))
