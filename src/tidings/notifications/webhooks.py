"""The addresses of a user that are called when something ended, and what was sent to them."""

from typing import Any

import msgspec

from tidings.domain.context import UserContext
from tidings.domain.errors import LimitExceeded
from tidings.domain.times import rfc3339
from tidings.notifications.inbox import Notification
from tidings.storage.warm.objects import Kind, fetch_owned, take_turn
from tidings.storage.warm.port import Row, Transaction

WEBHOOKS_PER_USER_MAX = 10
DELIVERIES_KEPT_MAX = 200
"""Of one webhook, of those that have ended."""

_SHOWN = "webhook_id, url, enabled, created_at"


async def add(
    tx: Transaction, context: UserContext, webhook_id: str, url: str, secret: str, now: float
) -> dict[str, Any]:
    """Keep a checked address and return it.

    Raises:
        LimitExceeded: `too_many_webhooks`.
    """
    await take_turn(tx, context)
    ((count,),) = await tx.execute(
        "select count(*) from webhooks where user_id = ?", context.user_id
    )
    if count >= WEBHOOKS_PER_USER_MAX:
        raise LimitExceeded("too_many_webhooks", "Delete a webhook before you add another.")
    await tx.execute(
        "insert into webhooks (webhook_id, user_id, url, secret, created_at)"
        " values (?, ?, ?, ?, ?)",
        webhook_id,
        context.user_id,
        url,
        secret,
        now,
    )
    return _shown((webhook_id, url, 1, now))


async def every(tx: Transaction, context: UserContext) -> list[dict[str, Any]]:
    """Return the user's webhooks, oldest first, without their secrets."""
    rows = await tx.execute(
        f"select {_SHOWN} from webhooks where user_id = ? order by webhook_id",  # noqa: S608
        context.user_id,
    )
    return [_shown(row) for row in rows]


async def delete(tx: Transaction, context: UserContext, webhook_id: str) -> None:
    """Remove a webhook with all that was to be sent to it.

    Raises:
        NotFound: the user has no such webhook.
    """
    await fetch_owned(tx, context, Kind.WEBHOOK, webhook_id, "1")
    await tx.execute("delete from webhook_deliveries where webhook_id = ?", webhook_id)
    await tx.execute("delete from webhooks where webhook_id = ?", webhook_id)


async def deliveries(
    tx: Transaction, context: UserContext, webhook_id: str, limit: int
) -> list[dict[str, Any]]:
    """Return what was or is to be sent to a webhook, newest first; the dead letters among it.

    Raises:
        NotFound: the user has no such webhook.
    """
    await fetch_owned(tx, context, Kind.WEBHOOK, webhook_id, "1")
    rows = await tx.execute(
        "select event_id, thread_id, state, attempts, created_at, next_attempt_at, last_status,"
        " last_error from webhook_deliveries where webhook_id = ?"
        " order by created_at desc, event_id desc limit ?",
        webhook_id,
        limit,
    )
    return [_delivery(row) for row in rows]


async def enqueue(tx: Transaction, context: UserContext, notice: Notification, now: float) -> int:
    """Have a notice delivered to each enabled webhook of the user; return to how many."""
    rows = await tx.execute(
        "select webhook_id from webhooks where user_id = ? and enabled = 1", context.user_id
    )
    body = _body(notice)
    for (webhook_id,) in rows:
        await tx.execute(
            "insert into webhook_deliveries (webhook_id, event_id, thread_id, body, state,"
            " created_at, next_attempt_at) values (?, ?, ?, ?, 'pending', ?, ?)"
            " on conflict (webhook_id, event_id) do nothing",
            webhook_id,
            notice.event_id,
            notice.thread_id,
            body,
            now,
            now,
        )
        await _drop_oldest(tx, webhook_id)
    return len(rows)


async def _drop_oldest(tx: Transaction, webhook_id: str) -> None:
    await tx.execute(
        "delete from webhook_deliveries where webhook_id = ? and state <> 'pending'"
        " and event_id in (select event_id from (select event_id, row_number() over"
        "  (order by created_at desc, event_id desc) as place from webhook_deliveries"
        "  where webhook_id = ? and state <> 'pending') as ended where place > ?)",
        webhook_id,
        webhook_id,
        DELIVERIES_KEPT_MAX,
    )


def _body(notice: Notification) -> str:
    """Write what a receiver is told: that it ended and how, and nothing of what was said."""
    told = {
        "type": notice.kind,
        "timestamp": rfc3339(notice.happened_at),
        "data": {
            "thread_id": notice.thread_id,
            "run_id": notice.run_id,
            "offset": notice.offset,
            "status": notice.status,
            "title": notice.title,
        },
    }
    return msgspec.json.encode(told).decode()


def _shown(row: Row) -> dict[str, Any]:
    webhook_id, url, enabled, created_at = row
    return {
        "webhook_id": webhook_id,
        "url": url,
        "enabled": bool(enabled),
        "created_at": rfc3339(created_at),
    }


def _delivery(row: Row) -> dict[str, Any]:
    event_id, thread_id, state, attempts, created_at, next_at, status, error = row
    return {
        "event_id": event_id,
        "thread_id": thread_id,
        "state": state,
        "attempts": attempts,
        "created_at": rfc3339(created_at),
        "next_attempt_at": rfc3339(next_at) if state == "pending" else None,
        "last_status": status,
        "last_error": error,
    }
