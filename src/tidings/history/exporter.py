"""The exporter: brings ended runs from the log to the cold tier, and removes what is deleted.

A run is marked in the warm tier after the cold tier has confirmed it, and not before: cut off
anywhere between, it is brought again, and counted once there. The log is the spool: what waits is
held back from retention for a while.
"""

import asyncio
import logging
from dataclasses import dataclass
from functools import partial

from tidings.domain.context import SERVER
from tidings.domain.errors import Failure, Unavailable
from tidings.domain.ports import Clock
from tidings.domain.tiers import TierHealth, TierState
from tidings.domain.times import rfc3339
from tidings.events import erasures
from tidings.health.history_metrics import HistoryMetrics
from tidings.health.outage import Outage
from tidings.history import ended, rewound
from tidings.history.ended import EndedRun, Unexported
from tidings.history.gathering import gather
from tidings.storage.cold.port import ColdStore, Erasure
from tidings.storage.cold.records import Batch, KeptEvent
from tidings.storage.warm.duties import Duty
from tidings.storage.warm.port import Database

SETTLED_SECONDS = 30.0
"""So long after its end a run is brought: by then devices that listen have acknowledged it."""
DUTY_SECONDS = 30.0
"""Between two words to the duty there is one insert, which may be slow."""
DUTY_LOOKS = 3
RUNS_PER_BATCH_MAX = 100
EVENT_BYTES_PER_INSERT_MAX = 8 << 20
RETRY_SECONDS_MAX = 60.0
REFUSED_AGAIN_SECONDS = 3600.0
REFUSED_MAX = 1_000
TIDY_SECONDS = 3600.0
FORGET_SECONDS = 86_400.0
LAG_SECONDS_MAX = 3600.0
"""A cold tier that is further behind is not as it should be."""

_AWAY = "Old history, usage by day and service levels cannot be read; chats go on, nothing is lost."
_BEHIND = "Usage by day and service levels are behind; chats go on and nothing is lost."

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ExportPolicy:
    """How often to look, and what to wait for: so many runs, or the oldest for so long.

    Events that are older than `keep_seconds` leave the cold tier; None keeps them for ever.
    """

    look_seconds: float
    wait_seconds: float
    runs: int
    keep_seconds: float | None = None

    @property
    def duty_seconds(self) -> float:
        """How long whoever exports may say nothing until another one does it."""
        return max(DUTY_SECONDS, DUTY_LOOKS * self.look_seconds)


SELDOM = ExportPolicy(60.0, 600.0, 200)
"""For a store that must be started to take something."""
STEADY = ExportPolicy(5.0, 0.0, 1)
"""For a server that is always there."""


class Exporter:
    """Feeds a cold store. `run` does it for ever, for one process of those on the warm store."""

    name = "cold"

    def __init__(
        self,
        database: Database,
        store: ColdStore,
        duty: Duty,
        clock: Clock,
        metrics: HistoryMetrics,
        policy: ExportPolicy,
    ) -> None:
        self._database = database
        self._store = store
        self._duty = duty
        self._clock = clock
        self._metrics = metrics
        self._policy = policy
        self._outage = Outage(_log, "history waits in the log", Failure)
        self._failures = 0
        self._refused: dict[str, float] = {}
        self._tidied_at = self._forgot_at = float("-inf")
        self._is_untidy = False
        self._epoch = ""

    async def run(self) -> None:
        """Look again and again, for ever; after a failure later and later."""
        while True:
            pause = self._policy.look_seconds * 2 ** min(self._failures, 10)
            most = max(self._policy.look_seconds, RETRY_SECONDS_MAX)
            await asyncio.sleep(min(pause, most))
            await self.turn()

    async def turn(self) -> None:
        """Bring what is due; what a store refuses is tried again in a later turn."""
        with self._outage:
            await self._bring_what_is_due()
        if self._outage.reason:
            self._failures += 1
            self._metrics.failures.inc()
        else:
            self._failures = 0

    async def health(self) -> TierHealth:
        """Return how the cold tier is, and how far behind."""
        began = self._clock.monotonic()
        try:
            detail = await self._store.check()
        except Unavailable as error:
            return TierHealth(self.name, TierState.DOWN, error.message, None, _AWAY)
        latency = self._clock.monotonic() - began
        try:
            lag = self._lag(await self._database.read(SERVER, ended.backlog))
        except Unavailable:
            lag = None
        if trouble := self._outage.reason:
            return TierHealth(self.name, TierState.DEGRADED, trouble, latency, _BEHIND, lag)
        is_behind = lag is not None and lag > LAG_SECONDS_MAX
        state, meaning = (TierState.DEGRADED, _BEHIND) if is_behind else (TierState.OK, "")
        return TierHealth(self.name, state, detail, latency, meaning, lag)

    async def _bring_what_is_due(self) -> None:
        waiting = await self._database.read(SERVER, ended.backlog)
        self._metrics.waiting.set(waiting.runs)
        self._metrics.lag_seconds.set(self._lag(waiting))
        if not await self._duty.mine():
            return
        await self._disown()
        if self._is_time(waiting):
            while await self._bring_runs():
                if not await self._duty.mine():
                    return
        await self._erase()
        await self._keep_tidy()

    def _lag(self, waiting: Unexported) -> float:
        return 0.0 if waiting.oldest is None else max(0.0, self._clock.now() - waiting.oldest)

    def _is_time(self, waiting: Unexported) -> bool:
        if waiting.oldest is not None and self._has_waited(waiting.oldest):
            return True
        return waiting.runs >= self._policy.runs

    def _has_waited(self, since: float) -> bool:
        return self._clock.now() - since >= self._policy.wait_seconds

    async def _disown(self) -> None:
        """At the first look in an epoch, let go of what is of a past that is not any more."""
        epoch = await self._database.read(SERVER, rewound.epoch)
        if epoch != self._epoch:
            if disowned := await rewound.disown(self._database, self._store):
                _log.warning("%s threads are in the history alone, and leave it", disowned)
            self._epoch = epoch

    async def _bring_runs(self) -> int:
        """Bring a batch of runs; return how many."""
        now = self._clock.now()
        self._refused = {run: until for run, until in self._refused.items() if until > now}
        limit = RUNS_PER_BATCH_MAX + len(self._refused)
        due = partial(ended.due, ended_before=now - SETTLED_SECONDS, limit=limit)
        found = await self._database.read(SERVER, due)
        runs = [run for run in found if run.run_id not in self._refused][:RUNS_PER_BATCH_MAX]
        if runs:
            await self._bring(runs)
        return len(runs)

    async def _bring(self, runs: list[EndedRun]) -> None:
        """Bring runs together; when the store will not take them, each by itself."""
        try:
            await self._insert(runs)
        except Failure as error:
            if len(runs) == 1:
                self._put_off(runs[0], error)
                return
            for run in runs:
                await self._bring([run])
            return
        now = self._clock.now()
        await self._database.write(SERVER, partial(ended.exported, runs=runs, now=now))
        self._metrics.runs.inc(len(runs))
        self._is_untidy = True

    async def _insert(self, runs: list[EndedRun]) -> None:
        """Insert all there is of runs: what they told first, how they ended last."""
        now, size = self._clock.now(), 0
        events: list[KeptEvent] = []
        rest: list[Batch] = []
        for run in runs:
            async for batch in gather(self._database, run, now):
                events += batch.events
                size += sum(len(event.frame) for event in batch.events)
                if not batch.events:
                    rest.append(batch)
                if size >= EVENT_BYTES_PER_INSERT_MAX:
                    await self._keep(Batch(events=tuple(events)))
                    events, size = [], 0
        usage = tuple(line for batch in rest for line in batch.usage)
        ends = tuple(end for batch in rest for end in batch.runs)
        await self._keep(Batch(events=tuple(events), usage=usage, runs=ends))

    async def _keep(self, batch: Batch) -> None:
        """Insert a batch; the duty is kept meanwhile, or let another one do the same once more."""
        await self._duty.mine()
        await self._store.insert(batch)

    def _put_off(self, run: EndedRun, error: Failure) -> None:
        """Leave a run in the log that the store will not take: others shall not wait for it."""
        _log.error("run %s stays in the log alone: %s", run.run_id, error)
        self._metrics.refused.inc()
        if len(self._refused) >= REFUSED_MAX:
            raise Unavailable("cold_unavailable", "The history refuses too much.") from error
        self._refused[run.run_id] = self._clock.now() + REFUSED_AGAIN_SECONDS

    async def _erase(self) -> None:
        now = self._clock.now()
        while rows := await self._database.read(SERVER, partial(erasures.due, now=now)):
            await self._store.erase([_erasure(*row) for row in rows])
            await self._database.write(SERVER, partial(erasures.done, erased=rows, now=now))

    async def _keep_tidy(self) -> None:
        now = self._clock.now()
        if self._is_untidy and abs(now - self._tidied_at) >= TIDY_SECONDS:
            await self._store.tidy()
            self._tidied_at, self._is_untidy = now, False
        keep = self._policy.keep_seconds
        if keep is not None and abs(now - self._forgot_at) >= FORGET_SECONDS:
            await self._store.forget(rfc3339(now - keep)[:10])
            self._forgot_at = now


def _erasure(user_id: str, thread_id: str) -> Erasure:
    return Erasure(user_id, None if thread_id == user_id else thread_id)
