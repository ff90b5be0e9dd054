"""Runs that a scheduler brings to workers: which are sent to it, and which nobody has brought.

Who may go on is decided here, as it is where workers look for themselves: one run at a time in a
thread, so many of a user. The scheduler says only which worker, and who is next.
"""

import asyncio

from tidings.domain.context import SERVER
from tidings.domain.errors import Unavailable
from tidings.domain.ports import Clock
from tidings.domain.runs import Run
from tidings.runs import queue
from tidings.runs.execution import wait_at_most
from tidings.runs.queue import Limits, RunEnded, RunQueued
from tidings.runs.turns import in_turn
from tidings.scheduling.port import Errand, NotNow, Scheduler, Urgency
from tidings.storage.hot.port import Hints
from tidings.storage.warm.port import Database, Transaction

POLL_SECONDS = 1.0
SENT_AT_ONCE_MAX = 100
SPARE_SECONDS = 60.0
"""How long after a run's deadline the scheduler may still bring it, to have it ended."""


class Dispatch:
    """Sends runs to the scheduler as soon as they may go on. Any process may, and several do."""

    def __init__(
        self, database: Database, hints: Hints, scheduler: Scheduler, clock: Clock, limits: Limits
    ) -> None:
        self._database = database
        self._scheduler = scheduler
        self._clock = clock
        self._limits = limits
        self._changed = asyncio.Event()
        hints.listen(RunQueued, lambda _: self._changed.set())
        hints.listen(RunEnded, lambda _: self._changed.set())

    async def run(self) -> None:
        """Look and send, for ever."""
        while True:
            self._changed.clear()
            if await self.turn() < SENT_AT_ONCE_MAX:
                await wait_at_most(self._changed, POLL_SECONDS)

    async def turn(self) -> int:
        """Send what may go on; return how many those were.

        They are marked before they are sent: whatever happens in between, the workers find a run
        that was not brought by themselves.
        """
        now = self._clock.now()
        try:
            ready = await self._database.write(SERVER, lambda tx: mark(tx, now, self._limits))
        except Unavailable:
            return 0  # the next turn tries again
        async with asyncio.TaskGroup() as tasks:
            for errand in ready:
                tasks.create_task(self._send(errand))
        return len(ready)

    async def _send(self, errand: Errand) -> None:
        try:
            await self._scheduler.send(errand)
        except Unavailable:
            await self._leave_to_workers(errand)

    async def _leave_to_workers(self, errand: Errand) -> None:
        try:
            await self._database.write(SERVER, lambda tx: unmark(tx, errand))
        except Unavailable:
            return  # they find it a little later


_UNSENT = "state = 'queued' and (dispatched_fence is null or dispatched_fence < fence)"
_MARK = in_turn(
    held="state = 'running' or (state = 'queued' and dispatched_fence = fence)",
    free=_UNSENT,
    update=f"update runs set dispatched_fence = fence, dispatched_at = ? where {_UNSENT}",  # noqa: S608
    returning="run_id, fence, user_id, attempt, background, deadline_at",
)


async def mark(tx: Transaction, now: float, limits: Limits) -> list[Errand]:
    """Mark the runs that may go on as sent, SENT_AT_ONCE_MAX at most.

    Oldest first, those in the background last.
    """
    if not await tx.execute(f"select 1 from runs where {_UNSENT} limit 1"):  # noqa: S608
        return []
    await queue.take_claims(tx)
    rows = await tx.execute(_MARK, now, limits.runs_per_user, SENT_AT_ONCE_MAX)
    return [
        Errand(run_id, fence, user_id, _urgency(attempt, background), _seconds(deadline, now))
        for run_id, fence, user_id, attempt, background, deadline in rows
    ]


def _urgency(attempt: int, background: int) -> Urgency:
    if attempt:
        return Urgency.BEGUN
    return Urgency.BACKGROUND if background else Urgency.FRESH


def _seconds(deadline: float, now: float) -> float:
    return max(0.0, deadline - now) + SPARE_SECONDS


async def unmark(tx: Transaction, errand: Errand) -> None:
    """Take note that the scheduler has not got it: the workers need not wait for it."""
    await tx.execute(
        "update runs set dispatched_at = 0 where run_id = ? and dispatched_fence = ?",
        errand.run_id,
        errand.fence,
    )


async def claim_brought(
    tx: Transaction, errand: Errand, owner: str, now: float, lease_until: float
) -> Run | None:
    """Take a run that was brought; None when there is nothing to do with it any more.

    Raises:
        NotNow: whoever had it before may still be at it, until its lease ends.
    """
    rows = await tx.execute(
        "update runs set state = 'running', owner = ?, lease_until = ?,"
        "  fence = fence + 1, attempt = attempt + 1"
        " where run_id = ? and (fence = ? or ? = 1)"
        "  and (state = 'queued' or (state = 'running' and lease_until < ? and owner <> ?))"
        " returning run_id",
        owner,
        lease_until,
        errand.run_id,
        errand.fence,
        int(errand.again),
        now,
        owner,
    )
    if rows:
        return await queue.one(tx, errand.run_id)
    if errand.again:
        held = await tx.execute(
            "select lease_until from runs where run_id = ? and state = 'running' and owner <> ?",
            errand.run_id,
            owner,
        )
        if held:
            raise NotNow(max(0.0, held[0][0] - now))
    return None


async def claim_unbrought(
    tx: Transaction, owner: str, now: float, lease_until: float, *, free: int, patience: float
) -> list[Run]:
    """Take up to `free` runs that were sent and not brought in time, or whose worker is gone."""
    rows = await tx.execute(
        "update runs set state = 'running', owner = ?, lease_until = ?,"
        "  fence = fence + 1, attempt = attempt + 1"
        " where run_id in (select run_id from runs where"
        "   (state = 'queued' and dispatched_fence = fence and dispatched_at < ?)"
        "   or (state = 'running' and lease_until < ? and owner <> ?)"
        "   order by background, created_at, run_id limit ?)"
        "  and ((state = 'queued' and dispatched_fence = fence)"
        "   or (state = 'running' and lease_until < ?))"
        " returning run_id",
        owner,
        lease_until,
        now - patience,
        now,
        owner,
        free,
        now,
    )
    return [await queue.one(tx, run_id) for (run_id,) in rows]
