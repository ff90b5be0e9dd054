"""The durable log: contiguous streams, appended inside the caller's transaction."""

from typing import Any, NamedTuple

import msgspec

from tidings.domain.context import UserContext
from tidings.domain.cursors import (
    FROM_HEAD,
    FROM_START,
    TAIL_LENGTH,
    Cursor,
    cursor_of,
    parse_cursor,
)
from tidings.domain.errors import Conflict, NotFound
from tidings.domain.events import Draft, Event, thread_stream, user_stream
from tidings.domain.proof import Proof
from tidings.domain.times import rfc3339
from tidings.events import outbox, ranges
from tidings.events.ranges import Entry
from tidings.storage.marks import is_unfinished, unfinished
from tidings.storage.notes import UserNote
from tidings.storage.warm.objects import Kind, fetch_owned
from tidings.storage.warm.port import Row, Transaction

OFFSET_DIGITS_MAX = 18
EPOCH_CHARACTERS = 6
_MOVE_HEAD = (
    "update streams set head = head + ? where stream = ? and user_id = ?"
    " and not exists (select 1 from events where event_id in ({marks})) returning epoch, head"
)


class Appended(UserNote, frozen=True):
    """A note for followers: the stream now ends at `head`; its newest entries, if not too long."""

    stream: str
    epoch: str
    head: int
    entries: list[Entry]

    def brief(self) -> "Appended":
        return msgspec.structs.replace(self, entries=[])


class Removed(UserNote, frozen=True):
    """A note for followers: this stream is no more."""

    stream: str


class Place(msgspec.Struct, frozen=True):
    """Where a reader stands: it has everything up to `after`; `head` is the newest offset."""

    epoch: str
    after: int
    head: int


class _Seen(msgspec.Struct):
    """As much of an event as tells it from another."""

    event_id: str


class Room(NamedTuple):
    """The last offsets of a stream up to `head`, kept free in a transaction for these drafts."""

    stream: str
    epoch: str
    head: int
    drafts: list[Draft]

    @property
    def placed(self) -> list[tuple[int, Draft]]:
        """The drafts, each with its offset."""
        return list(enumerate(self.drafts, start=self.head - len(self.drafts) + 1))


class Page(NamedTuple):
    """Entries of a stream, and the epoch that they are of."""

    epoch: str
    entries: list[Entry]


async def open_store(tx: Transaction, store_id: str, now: float) -> None:
    """Begin the store's lineage, if it is new; the epoch names it in every cursor.

    Raises:
        Unavailable: `store_unfinished`: a move to here has not come to its end.
    """
    found = await tx.execute("select generation from store")
    if found and is_unfinished(found[0][0]):
        raise unfinished()
    if not found:
        epoch = store_id[-EPOCH_CHARACTERS:].lower()
        await tx.execute(
            "insert into store (store_id, epoch, created_at) values (?, ?, ?)", store_id, epoch, now
        )
        await tx.execute("insert into epochs values (?, ?, 'created', 0)", epoch, now)


async def open_stream(tx: Transaction, context: UserContext, stream: str) -> None:
    """Make sure that the user's stream exists.

    Raises:
        NotFound: the stream is another user's.
    """
    opened = await tx.execute(
        "insert into streams (stream, user_id, epoch, head, first_offset)"
        " select ?, ?, epoch, 0, 1 from store where true on conflict (stream) do nothing"
        " returning 1",
        stream,
        context.user_id,
    )
    if not opened:
        await fetch_owned(tx, context, Kind.STREAM, stream, "1")


async def append(
    tx: Transaction, context: UserContext, stream: str, drafts: list[Draft], now: float
) -> int:
    """Give the drafts the next offsets of the stream and return its head.

    A draft whose `event_id` is already in the log is left out: appending again changes nothing.

    Raises:
        NotFound: the user has no such stream.
    """
    room = await make_room(tx, context, stream, drafts)
    await fill(tx, context, room, now)
    return room.head


async def make_room(
    tx: Transaction, context: UserContext, stream: str, drafts: list[Draft]
) -> Room:
    """Take the next offsets of the stream for those drafts that are not in the log.

    The caller fills the room in the same transaction; what the drafts say may be decided then.

    Raises:
        NotFound: the user has no such stream.
    """
    rows = await _move_head(tx, context, stream, drafts)
    if not rows:
        drafts = await _without_known(tx, drafts)
        rows = await _move_head(tx, context, stream, drafts)
    if not rows:
        raise NotFound
    ((epoch, head),) = rows
    return Room(stream, epoch, int(head), drafts)


async def fill(tx: Transaction, context: UserContext, room: Room, now: float) -> None:
    """Put a room's drafts in their places."""
    if not room.drafts:
        return
    timestamp = rfc3339(now)
    events = [
        _event(draft, room.stream, room.epoch, offset, timestamp) for offset, draft in room.placed
    ]
    entries = [Entry(event.offset, msgspec.json.encode(event), event.offset) for event in events]
    inserted = tx.execute_many(
        'insert into events (stream, "offset", event_id, type, run_id, frame, appended_at)'
        " values (?, ?, ?, ?, ?, ?, ?)",
        [
            (event.stream, event.offset, event.event_id, event.type, event.run_id, entry.frame, now)
            for event, entry in zip(events, entries, strict=True)
        ],
    )
    await tx.together(inserted, outbox.note(tx, context, events, now))
    tx.announce(Appended(context.user_id, room.stream, room.epoch, room.head, entries))


async def read_after(
    tx: Transaction, context: UserContext, stream: str, after: int, limit: int
) -> Page:
    """Return up to `limit` entries that follow `after`, oldest first, without a gap.

    Raises:
        NotFound: the user has no such stream.
        Conflict: `cursor_trimmed`: what follows is no longer kept.
    """
    epoch, _, first = await _bounds(tx, context, stream)
    if after < first - 1:
        raise _trimmed()
    rows = await tx.execute(
        'select "offset", frame, joined from events'
        ' where stream = ? and "offset" > ? and length(frame) > 0 order by "offset" limit ?',
        stream,
        after,
        limit,
    )
    entries = [Entry(offset, bytes(frame), offset - joined) for offset, frame, joined in rows]
    if entries:
        entries[0] = ranges.after(entries[0], after)
    return Page(epoch, entries)


async def proof_of(tx: Transaction, run_id: str) -> Proof:
    """Return the proof of completeness of what a run has told so far."""
    rows = await tx.execute(
        'select "offset", event_id, type from events where run_id = ? order by "offset"', run_id
    )
    proof = Proof()
    for offset, event_id, type_ in rows:
        proof = proof.with_event(offset, event_id, type_)
    return proof


async def locate(tx: Transaction, context: UserContext, stream: str, position: str) -> Place:
    """Find the place a client names: a cursor, a bare offset, `0` (the start) or `live` (the head).

    The tail of the cursor is compared with the log, so that a client which has seen events that a
    restored store has lost is told, instead of being fed a different history.

    Raises:
        NotFound: the user has no such stream.
        InvalidInput: `cursor_invalid`: not a cursor of ours.
        Conflict: `cursor_diverged`: the store's history differs from what the client has seen;
            `cursor_trimmed`: the client is older than what is retained. Take a snapshot.
    """
    epoch, head, first = await _bounds(tx, context, stream)
    if position == FROM_HEAD:
        return Place(epoch, head, head)
    if position == FROM_START:
        return Place(epoch, first - 1, head)
    cursor = Cursor(epoch, int(position), "") if _is_offset(position) else parse_cursor(position)
    if 0 < cursor.offset < first - 1:
        raise _trimmed()
    await _check_lineage(tx, stream, cursor, head)
    return Place(epoch, cursor.offset, head)


async def _bounds(tx: Transaction, context: UserContext, stream: str) -> tuple[str, int, int]:
    """Return a stream's epoch, head and first offset; a user's own stream is always there."""
    try:
        epoch, head, first = await fetch_owned(
            tx, context, Kind.STREAM, stream, "epoch, head, first_offset"
        )
    except NotFound:
        if stream != user_stream(context.user_id):
            raise
        ((epoch,),) = await tx.execute("select epoch from store")
        return epoch, 0, 1
    return epoch, head, first


async def cursor_at(tx: Transaction, stream: str, epoch: str, offset: int) -> str:
    """Return the cursor of a client that has applied everything up to `offset`."""
    rows = await tx.execute(
        'select event_id from events where stream = ? and "offset" = ?', stream, offset
    )
    return str(cursor_of(epoch, offset, rows[0][0])) if rows else str(offset)


async def remove_stream(tx: Transaction, context: UserContext, stream: str) -> None:
    """Remove a stream with everything in it; that it is the user's, the caller has made sure."""
    await tx.execute("delete from events where stream = ?", stream)
    await tx.execute("delete from positions where stream = ?", stream)
    await tx.execute("delete from streams where stream = ?", stream)
    tx.announce(Removed(context.user_id, stream))


async def heads(tx: Transaction, streams: list[str]) -> dict[str, Place]:
    """Return where each stream ends; for the poll that makes lost hints harmless."""
    marks = ", ".join("?" * len(streams))
    rows = await tx.execute(
        f"select stream, epoch, head from streams where stream in ({marks})",  # noqa: S608
        *streams,
    )
    return {stream: Place(epoch, head, head) for stream, epoch, head in rows}


def tail_of(position: str, frame: bytes) -> str:
    """Return the tail of what a reader has seen last; empty when there is nothing to compare.

    That is the event of `frame`; without one, that of the cursor at which it began.
    """
    if frame:
        return msgspec.json.decode(frame, type=_Seen).event_id[-TAIL_LENGTH:]
    return (
        ""
        if position in {FROM_START, FROM_HEAD} or _is_offset(position)
        else (parse_cursor(position).tail)
    )


async def prove(tx: Transaction, context: UserContext, stream: str, cursor: Cursor) -> Place:
    """Find the place of a reader again in what is another history than its cursor's epoch.

    Raises:
        NotFound, Conflict: as `locate` does.
    """
    position = str(cursor) if cursor.tail else str(cursor.offset)
    return await locate(tx, context, stream, position)


async def stored_events(tx: Transaction, object_id: str) -> list[bytes]:
    """Return the frames of a run or a thread, oldest first, whoever's it is: for the operator."""
    rows = await tx.execute(
        "select frame from events where (run_id = ? or stream = ?) and length(frame) > 0"
        ' order by stream, "offset"',
        object_id,
        thread_stream(object_id),
    )
    return [bytes(frame) for (frame,) in rows]


async def _move_head(
    tx: Transaction, context: UserContext, stream: str, drafts: list[Draft]
) -> list[Row]:
    """Move the head of the user's stream, unless a draft is in the log; return epoch and head."""
    if not drafts:
        return await tx.execute(
            "select epoch, head from streams where stream = ? and user_id = ?",
            stream,
            context.user_id,
        )
    return await tx.execute(
        _MOVE_HEAD.format(marks=", ".join("?" * len(drafts))),
        len(drafts),
        stream,
        context.user_id,
        *(draft.event_id for draft in drafts),
    )


async def _without_known(tx: Transaction, drafts: list[Draft]) -> list[Draft]:
    marks = ", ".join("?" * len(drafts))
    known: set[Any] = {
        event_id
        for (event_id,) in await tx.execute(
            f"select event_id from events where event_id in ({marks})",  # noqa: S608
            *(draft.event_id for draft in drafts),
        )
    }
    return [draft for draft in drafts if draft.event_id not in known] if known else drafts


def _event(draft: Draft, stream: str, epoch: str, offset: int, timestamp: str) -> Event:
    return Event(
        type=draft.type.value,
        event_id=draft.event_id,
        stream=stream,
        epoch=epoch,
        offset=offset,
        timestamp=timestamp,
        run_id=draft.run_id,
        thread_id=draft.thread_id,
        agent=draft.agent,
        payload=draft.payload,
    )


def _trimmed() -> Conflict:
    return Conflict("cursor_trimmed", "The events after this cursor are no longer kept.")


def _is_offset(position: str) -> bool:
    return position.isascii() and position.isdigit() and len(position) <= OFFSET_DIGITS_MAX


async def _check_lineage(tx: Transaction, stream: str, cursor: Cursor, head: int) -> None:
    if cursor.offset <= head and not cursor.tail:
        return
    if 0 < cursor.offset <= head:
        rows = await tx.execute(
            'select event_id from events where stream = ? and "offset" = ?', stream, cursor.offset
        )
        if not rows:
            raise _trimmed()
        if cursor.tail == rows[0][0][-TAIL_LENGTH:]:
            return
    raise Conflict(
        "cursor_diverged", "The server's history differs from what you have seen; take a snapshot."
    )
