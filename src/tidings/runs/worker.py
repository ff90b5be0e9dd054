"""The worker: claims runs, lets each be executed, keeps their leases, gives back what it cannot."""

import asyncio
import logging
from contextlib import suppress
from functools import partial
from itertools import chain

from tidings.domain.context import SERVER
from tidings.domain.errors import Unavailable
from tidings.domain.ports import Clock, IdSource
from tidings.domain.runs import Run
from tidings.runs import dispatch, pauses, queue
from tidings.runs.context import Engine
from tidings.runs.execution import Execution, failed, wait_at_most
from tidings.runs.journal import Interrupted, Journal
from tidings.runs.port import Agents
from tidings.runs.queue import CancelRequested, Limits, RunLost, RunQueued
from tidings.scheduling.port import Errand, NotNow, Scheduler
from tidings.storage.hot.port import Hints
from tidings.storage.warm.port import Database, Transaction

RENEW_SECONDS = 0.5
POLL_SECONDS = 0.5
RETRY_SECONDS = 0.5
FULL_SECONDS = 1.0
"""After so long a run that was brought to a full worker is brought again, perhaps elsewhere."""

_log = logging.getLogger(__name__)


class Worker:
    """Works on runs until it is cancelled; then it gives the unfinished ones back."""

    def __init__(
        self,
        database: Database,
        hints: Hints,
        engine: Engine,
        agents: Agents,
        ids: IdSource,
        limits: Limits,
        scheduler: Scheduler,
    ) -> None:
        self._database = database
        self._hints = hints
        self._engine = engine
        self._agents = agents
        self._ids = ids
        self._limits = limits
        self._scheduler = scheduler
        self._owner = ids.new("w")
        self._executions: dict[str, Execution] = {}
        self._taking = 0
        self._strangers: frozenset[str] = frozenset()
        self._changed = asyncio.Event()
        hints.hear(RunQueued, lambda _: self._look())
        hints.hear(CancelRequested, self._stop)

    @property
    def clock(self) -> Clock:
        """The clock that leases and deadlines are measured by."""
        return self._engine.clock

    @property
    def running(self) -> int:
        """How many runs are worked on here now."""
        return len(self._executions)

    async def run(self) -> None:
        """Claim and work, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._renew_leases())
            tasks.create_task(self._scheduler.bring(self._limits.runs, partial(self.take, tasks)))
            while True:
                self._changed.clear()
                for run in await self._claim():
                    self._begin(tasks, run)
                await wait_at_most(self._changed, POLL_SECONDS)

    async def take(self, tasks: asyncio.TaskGroup, errand: Errand) -> None:
        """Take a run that a scheduler has brought; return when it is over here, one way or another.

        Whoever waits for that may give up: the run goes on, held by its lease.

        Raises:
            NotNow: there is no room, no store, or another worker may still have it.
        """
        if self._free == 0:
            raise NotNow(FULL_SECONDS)
        now = self.clock.now()
        until = now + self._limits.lease_seconds
        claim = partial(
            dispatch.claim_brought,
            errand=errand,
            owner=self._owner,
            now=now,
            lease_until=until,
        )
        self._taking += 1
        try:
            run = await self._database.write(SERVER, claim)
        except Unavailable as error:
            raise NotNow(RETRY_SECONDS) from error
        finally:
            self._taking -= 1
        if run is not None:
            await asyncio.wait({self._begin(tasks, run)})

    @property
    def _free(self) -> int:
        return max(0, self._limits.runs - len(self._executions) - self._taking)

    def _begin(self, tasks: asyncio.TaskGroup, run: Run) -> asyncio.Task[None]:
        execution = Execution(self._engine, Journal(self._database, self.clock, self._ids, run))
        self._executions[run.run_id] = execution
        return tasks.create_task(self._execute(execution))

    async def _claim(self) -> list[Run]:
        """Take what there is to do; the overdue need no free place, for they only need an end."""
        now = self.clock.now()
        until = now + self._limits.lease_seconds
        patience = self._scheduler.patience_seconds

        async def work(tx: Transaction) -> list[Run]:
            await queue.take_claims(tx)
            overdue = queue.claim_overdue(tx, self._owner, now, until)
            if patience:
                return await overdue + await dispatch.claim_unbrought(
                    tx, self._owner, now, until, free=self._free, patience=patience
                )
            ready = queue.claim(tx, self._owner, now, until, free=self._free, limits=self._limits)
            return list(chain(*await tx.together(overdue, ready)))

        try:
            if not await self._database.read(
                SERVER, partial(queue.anything, owner=self._owner, now=now)
            ):
                return []
            return await self._database.write(SERVER, work)
        except Unavailable:
            return []  # the next poll tries again

    def _look(self) -> None:
        """Look for runs now, unless somebody brings them."""
        if not self._scheduler.patience_seconds:
            self._changed.set()

    async def _execute(self, execution: Execution) -> None:
        run = execution.run
        try:
            await self._drive(execution)
        except asyncio.CancelledError:
            await asyncio.shield(self._leave(execution))
            raise
        finally:
            if execution.fenced:
                self._hints.publish(RunLost(run.run_id))
            if self._executions.get(run.run_id) is execution:  # after a wait another may go on
                del self._executions[run.run_id]
            self._look()

    async def _drive(self, execution: Execution) -> None:
        """Drive one run to its end; whatever happens in it, the other runs go on."""
        run = execution.run
        try:
            await execution.drive(self._agents[run.agent])
        except* (Interrupted, Unavailable):
            if not execution.parked:
                _log.warning("run %s is interrupted in attempt %d", run.run_id, run.attempt)
                await asyncio.sleep(RETRY_SECONDS)
                await self._give_back(run)
        except* Exception as defects:  # noqa: BLE001 - the worker's outer loop
            told = "run %s failed by a defect of its agent %s"
            _log.exception(told, run.run_id, run.agent, exc_info=single(defects))
            await self._end_failed(execution)

    async def _end_failed(self, execution: Execution) -> None:
        try:
            await execution.end(failed("internal", _DEFECT))
        except Interrupted:
            await self._give_back(execution.run)

    async def _leave(self, execution: Execution) -> None:
        """Give a run back with all that is known of it: what a model has said is paid for."""
        with suppress(Interrupted):
            await execution.flush()
        await self._give_back(execution.run)

    async def _give_back(self, run: Run) -> None:
        try:
            await self._database.write(run.context, lambda tx: queue.release(tx, run))
        except Unavailable:
            _log.warning("run %s is free again when its lease ends", run.run_id)

    def _stop(self, note: CancelRequested) -> None:
        execution = self._executions.get(note.run_id)
        if execution is None or execution.parked:
            self._changed.set()  # it may be waiting: claim it to end it
        else:
            execution.stop(note.reason)

    async def _renew_leases(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            await self._expire()
            runs = await self._renewed()
            for run in runs:
                if run.run_id in self._executions and run.cancel_reason is not None:
                    self._stop(CancelRequested(run.run_id, run.cancel_reason))
            await self._give_back_strangers(runs)

    async def _give_back_strangers(self, runs: list[Run]) -> None:
        """Give back what is held and not worked on: it was claimed, but the answer was lost.

        Or it is on its way: only what is a stranger twice was lost.
        """
        strangers = {run.run_id: run for run in runs if run.run_id not in self._executions}
        for run_id in self._strangers & strangers.keys():
            await self._give_back(strangers[run_id])
        self._strangers = frozenset(strangers)

    async def _expire(self) -> None:
        """End the waits whose time is up: the runs go on without an answer."""
        now = self.clock.now()
        try:
            for asked in await self._database.read(SERVER, lambda tx: pauses.due(tx, now)):
                ids = (self._ids.new("e"), self._ids.new("e"))
                await self._database.write(
                    SERVER, partial(pauses.expire, asked=asked, event_ids=ids, now=now)
                )
        except Unavailable:
            return  # the next look tries again

    async def _renewed(self) -> list[Run]:
        """Prolong the leases; return the runs that are held."""
        until = self.clock.now() + self._limits.lease_seconds
        try:
            return await self._database.write(
                SERVER, lambda tx: queue.renew(tx, self._owner, until)
            )
        except Unavailable:
            return []  # a lease outlives several failures


_DEFECT = "The agent failed by a defect of its own; the server's log says which."


def single(error: BaseException) -> BaseException:
    """Return the one error of a group, however deep, or the group of several."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        (error,) = error.exceptions
    return error
