"""Threads: a user's conversations."""

from typing import Any

from tidings.domain.commands import IfBusy
from tidings.domain.context import UserContext
from tidings.domain.errors import Conflict
from tidings.domain.events import Draft, EventType, thread_stream, user_stream
from tidings.domain.times import rfc3339
from tidings.events import erasures, log
from tidings.storage.warm.objects import Kind, fetch_owned, take_turn
from tidings.storage.warm.port import Row, Transaction

TITLE_CHARACTERS_MAX = 80
_COLUMNS = "thread_id, title, created_at, if_busy"


def title_of(text: str) -> str:
    """Return a short name for a conversation that begins with this text."""
    line = " ".join(text.split())
    if len(line) <= TITLE_CHARACTERS_MAX:
        return line
    return line[: TITLE_CHARACTERS_MAX - 1].rstrip() + "…"


async def begin(
    tx: Transaction, context: UserContext, thread_id: str, title: str, event_id: str, *, now: float
) -> None:
    """Create a thread with its stream, and say so on the user's stream."""
    await add(tx, context, thread_id, title, now=now)
    told = [created(thread_id, title, event_id)]
    await log.append(tx, context, user_stream(context.user_id), told, now)


async def add(
    tx: Transaction, context: UserContext, thread_id: str, title: str, *, now: float
) -> None:
    """Create a thread with its stream; that it is `created` is yet to be said on the user's."""
    added = tx.execute(
        "insert into threads (thread_id, user_id, title, created_at) values (?, ?, ?, ?)",
        thread_id,
        context.user_id,
        title,
        now,
    )
    await tx.together(
        added,
        log.open_stream(tx, context, thread_stream(thread_id)),
        log.open_stream(tx, context, user_stream(context.user_id)),
    )


def created(thread_id: str, title: str, event_id: str) -> Draft:
    """Return what the user's stream is told of a new thread."""
    return Draft(event_id, EventType.THREAD_CREATED, {"title": title}, thread_id=thread_id)


async def newest(
    tx: Transaction, context: UserContext, limit: int, before: str | None
) -> list[dict[str, Any]]:
    """Return the user's threads, newest first; `before` is the last id of the page before."""
    rows = await tx.execute(
        f"select {_COLUMNS} from threads"  # noqa: S608 - a constant
        " where user_id = ? and thread_id < ? order by thread_id desc limit ?",
        context.user_id,
        before or "u",
        limit,
    )
    return [_shown(row) for row in rows]


async def one(tx: Transaction, context: UserContext, thread_id: str) -> dict[str, Any]:
    """Return a thread.

    Raises:
        NotFound: the user has no such thread.
    """
    return _shown(await fetch_owned(tx, context, Kind.THREAD, thread_id, _COLUMNS))


async def change(
    tx: Transaction,
    context: UserContext,
    thread_id: str,
    title: str | None,
    if_busy: IfBusy | None,
) -> None:
    """Give a thread another title, or another way with messages that come while it is busy.

    Raises:
        NotFound: the user has no such thread.
    """
    await fetch_owned(tx, context, Kind.THREAD, thread_id, "1")
    await tx.execute(
        "update threads set title = coalesce(?, title), if_busy = coalesce(?, if_busy)"
        " where thread_id = ?",
        title,
        if_busy,
        thread_id,
    )


async def delete(tx: Transaction, context: UserContext, thread_id: str) -> None:
    """Remove a thread with everything that was said in it.

    Raises:
        NotFound: the user has no such thread.
        Conflict: `thread_busy`: a run in it has not ended.
    """
    await take_turn(tx, context)
    await fetch_owned(tx, context, Kind.THREAD, thread_id, "1")
    rows = await tx.execute("select state from runs where thread_id = ?", thread_id)
    if any(state != "ended" for (state,) in rows):
        raise Conflict("thread_busy", "Stop the thread's run before you delete the thread.")
    await remove(tx, context, thread_id)


async def remove(tx: Transaction, context: UserContext, thread_id: str) -> None:
    """Remove a thread of the user's in which nobody works; elsewhere it shall be erased too."""
    await erasures.note(tx, context, thread_id)
    runs = "(select run_id from runs where thread_id = ?)"
    await tx.execute(f"delete from steps where run_id in {runs}", thread_id)  # noqa: S608
    await tx.execute(f"delete from reports where run_id in {runs}", thread_id)  # noqa: S608
    await tx.execute("delete from runs where thread_id = ?", thread_id)
    for table in ("outbox", "inbox", "webhook_deliveries"):
        await tx.execute(f"delete from {table} where thread_id = ?", thread_id)  # noqa: S608
    await log.remove_stream(tx, context, thread_stream(thread_id))
    await tx.execute("delete from threads where thread_id = ?", thread_id)


def _shown(row: Row) -> dict[str, Any]:
    thread_id, title, created_at, if_busy = row
    return {
        "thread_id": thread_id,
        "title": title,
        "created_at": rfc3339(created_at),
        "if_busy": if_busy,
    }
