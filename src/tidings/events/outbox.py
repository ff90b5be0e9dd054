"""Who should hear of an event though nobody listens: noted in the transaction of the event."""

import msgspec

from tidings.domain.context import UserContext
from tidings.domain.events import ASKING, NOTIFIED, Event
from tidings.storage.warm.port import Transaction

NOTIFY_AFTER_SECONDS = 30.0


async def note(tx: Transaction, context: UserContext, events: list[Event], now: float) -> None:
    """Write down those of the events that are worth a notification, due in NOTIFY_AFTER_SECONDS."""
    worthy = [
        event for event in events if event.type in NOTIFIED and event.run_id and event.thread_id
    ]
    if not worthy:
        return
    await tx.execute_many(
        'insert into outbox (event_id, tenant_id, user_id, stream, "offset", thread_id, run_id,'
        " kind, status, happened_at, due_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                event.event_id,
                context.tenant_id,
                context.user_id,
                event.stream,
                event.offset,
                event.thread_id,
                event.run_id,
                event.type,
                _status(event),
                now,
                now + NOTIFY_AFTER_SECONDS,
            )
            for event in worthy
        ],
    )


async def forget_asking(tx: Transaction, run_id: str, request_id: str | None = None) -> None:
    """Do not tell any more that a run waits: for this, or without an id for anything."""
    marks = ", ".join("?" * len(ASKING))
    rows = await tx.execute(
        "select o.event_id, e.frame from outbox o join events e on e.event_id = o.event_id"  # noqa: S608
        f" where o.run_id = ? and o.kind in ({marks})",
        run_id,
        *ASKING,
    )
    for event_id, frame in rows:
        asked = msgspec.json.decode(frame, type=Event).payload
        if request_id in (None, asked.get("request_id"), asked.get("call_id")):
            await tx.execute("delete from outbox where event_id = ?", event_id)


def _status(event: Event) -> str:
    """Return in a word how it ended, or that it waits: `completed`, `degraded`, `failed`, ...."""
    if event.type in ASKING:
        return "waiting"
    status = event.payload.get("status")
    return status if isinstance(status, str) else event.type.removeprefix("agent_")
