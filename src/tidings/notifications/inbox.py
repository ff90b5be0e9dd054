"""The inbox: what ended while the user was away, one item for each event."""

from typing import Any

import msgspec

from tidings.domain.context import UserContext
from tidings.domain.events import Draft, EventType, user_stream
from tidings.domain.payloads import InboxItemAdded
from tidings.domain.times import rfc3339
from tidings.events import log
from tidings.storage.warm.objects import Kind, fetch_owned
from tidings.storage.warm.port import Row, Transaction

INBOX_ITEMS_MAX = 1_000
"""Kept for a user; the oldest go first."""


class Notification(msgspec.Struct, frozen=True):
    """An event that its user is to hear of. `status` says in a word how it ended."""

    event_id: str
    thread_id: str
    run_id: str
    offset: int
    kind: str
    status: str
    title: str
    happened_at: float


async def add(
    tx: Transaction,
    context: UserContext,
    notice: Notification,
    item_id: str,
    event_id: str,
    now: float,
) -> bool:
    """Put a notice into the inbox, once, and say so on the user's stream; return whether it is new.

    `item_id` and `event_id` name the item and the event that tells of it.
    """
    added = await tx.execute(
        'insert into inbox (item_id, user_id, event_id, thread_id, run_id, "offset", kind, status,'
        " title, created_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " on conflict (event_id) do nothing returning item_id",
        item_id,
        context.user_id,
        notice.event_id,
        notice.thread_id,
        notice.run_id,
        notice.offset,
        notice.kind,
        notice.status,
        notice.title,
        now,
    )
    if not added:
        return False
    await _drop_oldest(tx, context.user_id)
    told = InboxItemAdded(
        item_id=item_id,
        thread_id=notice.thread_id,
        run_id=notice.run_id,
        offset=notice.offset,
        kind=notice.kind,
        status=notice.status,
        title=notice.title,
    )
    payload = msgspec.to_builtins(told)
    draft = Draft(event_id, EventType.INBOX_ITEM, payload, thread_id=notice.thread_id)
    stream = user_stream(context.user_id)
    await log.open_stream(tx, context, stream)
    await log.append(tx, context, stream, [draft], now)
    return True


async def newest(
    tx: Transaction, context: UserContext, limit: int, before: str | None, *, unread: bool
) -> dict[str, Any]:
    """Return the newest items, and how many are unread; `before` is the last of the page before."""
    rows = await tx.execute(
        'select item_id, thread_id, run_id, "offset", kind, status, title, created_at, read_at'
        " from inbox where user_id = ? and item_id < ? and (read_at is null or ? = 0)"
        " order by item_id desc limit ?",
        context.user_id,
        before or "~",
        int(unread),
        limit,
    )
    ((count,),) = await tx.execute(
        "select count(*) from inbox where user_id = ? and read_at is null", context.user_id
    )
    return {"items": [_shown(row) for row in rows], "unread": count}


async def mark_read(tx: Transaction, context: UserContext, item_id: str, now: float) -> None:
    """Mark an item as read; again changes nothing.

    Raises:
        NotFound: the user has no such item.
    """
    await fetch_owned(tx, context, Kind.INBOX_ITEM, item_id, "1")
    await tx.execute(
        "update inbox set read_at = ? where item_id = ? and read_at is null", now, item_id
    )


async def _drop_oldest(tx: Transaction, user_id: str) -> None:
    await tx.execute(
        "delete from inbox where user_id = ? and item_id <= (select item_id from inbox"
        " where user_id = ? order by item_id desc limit 1 offset ?)",
        user_id,
        user_id,
        INBOX_ITEMS_MAX,
    )


def _shown(row: Row) -> dict[str, Any]:
    item_id, thread_id, run_id, offset, kind, status, title, created_at, read_at = row
    return {
        "item_id": item_id,
        "thread_id": thread_id,
        "run_id": run_id,
        "offset": offset,
        "kind": kind,
        "status": status,
        "title": title,
        "created_at": rfc3339(created_at),
        "read": read_at is not None,
    }
