"""Somebody who works on runs: real claims, real appends, the journal's own end."""

import random
from typing import Any

from tests.fakes.ports import CountingIds
from tests.machine.shelf import SteppedDatabase
from tidings.domain.context import SERVER
from tidings.domain.errors import Unavailable
from tidings.domain.events import Draft, EventType, thread_stream
from tidings.domain.ports import Clock
from tidings.domain.runs import Run
from tidings.events import log
from tidings.runs import queue
from tidings.runs.journal import Interrupted, Journal
from tidings.runs.queue import Fenced, Limits
from tidings.runs.written import Written
from tidings.storage.warm.port import Transaction

LIMITS = Limits(runs=8, runs_per_user=4)
TEXTS = ("one ", "zwei ", "três ", "四", "🙂🙃", "e\u0301", "")
ENDS = (EventType.AGENT_COMPLETED, EventType.AGENT_FAILED, EventType.AGENT_CANCELLED)


class Workers:
    """Claims runs again before every word, as if each were by another process."""

    def __init__(self, database: SteppedDatabase, ids: CountingIds, rng: random.Random) -> None:
        self._database = database
        self._ids = ids

    async def tell(self, clock: Clock, rng: random.Random) -> None:
        """Have a run tell a few events in one transaction."""
        try:
            run = await self._claim(rng)
            if run is None:
                return
            drafts = self._drafts(run, rng)

            async def work(tx: Transaction) -> None:
                await queue.held(tx, run)
                await log.append(tx, run.context, thread_stream(run.thread_id), drafts, clock.now())

            await self._database.write(SERVER, work)
        except (Unavailable, Fenced):
            return  # another claim goes on

    async def end(self, clock: Clock, rng: random.Random) -> None:
        """End a run, as its journal does it."""
        try:
            run = await self._claim(rng)
            if run is None:
                return
            journal = Journal(self._database, clock, self._ids, run)
            terminal = self._draft(run, rng.choice(ENDS), {"status": "completed"})
            await journal.end(terminal, "completed", None, Written())
        except (Unavailable, Interrupted):
            return

    async def _claim(self, rng: random.Random) -> Run | None:
        async def work(tx: Transaction) -> list[Run]:
            await queue.release_all(tx)
            return await queue.claim(tx, "w", 0.0, 1.0, free=8, limits=LIMITS)

        runs = await self._database.write(SERVER, work)
        return rng.choice(runs) if runs else None

    def _drafts(self, run: Run, rng: random.Random) -> list[Draft]:
        drafts: list[Draft] = []
        for _ in range(rng.randrange(1, 4)):
            match rng.randrange(4):
                case 0:
                    told = {"reasoning": "x" * rng.choice((1, 50, 30_000)), "progress": 0.5}
                    drafts.append(self._draft(run, EventType.AGENT_THINKING, told))
                case 1:
                    call = {"call_id": self._ids.new("c")}
                    drafts.append(self._draft(run, EventType.TOOL_EXECUTING, call))
                    drafts.append(self._draft(run, EventType.TOOL_COMPLETED, call))
                case 2:
                    drafts.append(self._draft(run, EventType.NOTICE, {"code": "queued"}))
                case _:
                    message = f"a.{rng.randrange(2)}"
                    drafts += [self._piece(run, message, rng) for _ in range(rng.randrange(1, 12))]
        return drafts

    def _piece(self, run: Run, message_id: str, rng: random.Random) -> Draft:
        said = {"message_id": message_id, "text": rng.choice(TEXTS)}
        return self._draft(run, EventType.ANSWER_DELTA, said)

    def _draft(self, run: Run, type_: EventType, payload: dict[str, Any]) -> Draft:
        return Draft(self._ids.new("e"), type_, payload, "agent", run.run_id, run.thread_id)
