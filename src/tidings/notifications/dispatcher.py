"""Decides, when an end is due, whether its user has to be told: acknowledgements decide."""

import asyncio
import logging

import msgspec

from tidings.domain.context import SERVER, UserContext
from tidings.domain.ports import Clock, IdSource
from tidings.health.metrics import Metrics
from tidings.health.outage import Outage
from tidings.notifications import inbox, preferences, webhooks
from tidings.notifications.inbox import Notification
from tidings.storage.warm.port import Database, Transaction

POLL_SECONDS = 1.0
SETTLE_SECONDS = 2.0
"""Acknowledgements are stored within a second: one that came in time is there by then."""
DUE_AT_ONCE_MAX = 100
SESSION = "notifications"
"""Stands for a session where the server acts for a user by itself."""

_log = logging.getLogger(__name__)


class DeliveriesQueued(msgspec.Struct, frozen=True):
    """A note for whoever calls webhooks: there is something to send."""

    count: int


class Dispatcher:
    """Looks at the outbox when something in it is due.

    A row leaves the outbox in the transaction that writes the inbox and the deliveries: whatever
    crashes, and however many look, there is one item for an event.
    """

    def __init__(self, database: Database, metrics: Metrics, clock: Clock, ids: IdSource) -> None:
        self._database = database
        self._metrics = metrics
        self._clock = clock
        self._ids = ids
        self._outage = Outage(_log, "news of ended runs waits")

    async def run(self) -> None:
        """Look, and wait, for ever."""
        while True:
            pause = POLL_SECONDS
            with self._outage:
                pause = await self.look()
            await asyncio.sleep(pause)

    async def look(self) -> float:
        """Decide about what is due; return for how many seconds there is nothing to do."""
        settled = self._clock.now() - SETTLE_SECONDS
        due = await self._database.read(SERVER, _first)
        self._metrics.outbox_lag.set(max(0.0, settled - due[0][1]) if due else 0.0)
        for event_id, due_at in due:
            if due_at > settled:
                return min(POLL_SECONDS, due_at - settled)
            await self._decide(event_id)
        return 0.0 if len(due) == DUE_AT_ONCE_MAX else POLL_SECONDS

    async def _decide(self, event_id: str) -> None:
        item_id, told_id, now = self._ids.new("i"), self._ids.new("e"), self._clock.now()

        async def work(tx: Transaction) -> bool:
            taken = await _take(tx, event_id)
            if taken is None:
                return False
            context, notice = taken
            wanted = await preferences.read(tx, context.user_id)
            if notice.kind in wanted.webhooks:
                count = await webhooks.enqueue(tx, context, notice, now)
                tx.announce(DeliveriesQueued(count))
            if notice.kind not in wanted.inbox:
                return False
            return await inbox.add(tx, context, notice, item_id, told_id, now)

        if await self._database.write(SERVER, work):
            self._metrics.inbox_items.inc()


async def _first(tx: Transaction) -> list[tuple[str, float]]:
    rows = await tx.execute(
        "select event_id, due_at from outbox order by due_at limit ?", DUE_AT_ONCE_MAX
    )
    return [(event_id, due_at) for event_id, due_at in rows]


async def _take(tx: Transaction, event_id: str) -> tuple[UserContext, Notification] | None:
    """Take an event out of the outbox; None if somebody has, or a device of the user knows it."""
    rows = await tx.execute(
        "delete from outbox where event_id = ? returning tenant_id, user_id, stream,"
        ' "offset", thread_id, run_id, kind, status, happened_at',
        event_id,
    )
    if not rows:
        return None
    tenant_id, user_id, stream, offset, thread_id, run_id, kind, status, happened_at = rows[0]
    applied = await tx.execute(
        'select 1 from positions where user_id = ? and stream = ? and "offset" >= ? limit 1',
        user_id,
        stream,
        offset,
    )
    titles = await tx.execute("select title from threads where thread_id = ?", thread_id)
    if applied or not titles:
        return None
    notice = Notification(
        event_id=event_id,
        thread_id=thread_id,
        run_id=run_id,
        offset=offset,
        kind=kind,
        status=status,
        title=titles[0][0],
        happened_at=happened_at,
    )
    return UserContext(tenant_id, user_id, SESSION), notice
