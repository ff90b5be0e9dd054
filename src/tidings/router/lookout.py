"""The lookout: reads once a second how much there is to do, and how the agents have done."""

import asyncio

from tidings.domain.context import SERVER
from tidings.domain.errors import Unavailable
from tidings.domain.ports import Clock
from tidings.health.metrics import Metrics
from tidings.resilience.shedding import expected_wait
from tidings.resilience.wellness import WELLNESS_WINDOW_SECONDS, Record, is_well
from tidings.runs.backlog import Backlog, backlog, records
from tidings.storage.warm.port import Database, Transaction

LOOK_SECONDS = 1.0
RATE_SECONDS = 10.0
"""Over how long it is measured how fast runs end, while there is a queue."""


class Lookout:
    """What was seen last: a store that does not answer leaves it as it is."""

    def __init__(
        self, database: Database, clock: Clock, metrics: Metrics, runs_per_user: int
    ) -> None:
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._runs_per_user = runs_per_user
        self._taken = 0
        self._queue_since: float | None = None
        self._measured_seconds = 0.0
        self.backlog = Backlog()
        self.agents: dict[str, Record] = {}

    @property
    def ready(self) -> int:
        """How many runs only want for room, with those that were taken on since the last look."""
        return self.backlog.ready + self._taken

    @property
    def wait_seconds(self) -> float:
        """For how long a further run would wait for room."""
        since = self.backlog.since
        oldest = 0.0 if since is None else max(0.0, self._clock.now() - since)
        return expected_wait(self.ready, oldest, self.backlog.ended, self._measured_seconds)

    def is_well(self, agent: str) -> bool:
        """Return whether an agent does well, by what became of its runs."""
        return is_well(self.agents.get(agent, Record()), self._clock.now())

    def taken(self) -> None:
        """Count a run that was taken on."""
        self._taken += 1

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Look once."""
        now = self._clock.now()
        queue_since = now if self._queue_since is None else self._queue_since
        begin, since = max(queue_since, now - RATE_SECONDS), now - WELLNESS_WINDOW_SECONDS

        async def work(tx: Transaction) -> tuple[Backlog, dict[str, Record]]:
            return await backlog(tx, self._runs_per_user, begin), await records(tx, since)

        try:
            self.backlog, self.agents = await self._database.read(SERVER, work)
        except Unavailable:
            return  # the next look will tell
        self._taken = 0
        self._measured_seconds = now - begin
        self._queue_since = queue_since if self.backlog.ready else None
        for state in ("queued", "running", "waiting"):
            self._metrics.open_runs.labels(state).set(getattr(self.backlog, state))
        self._metrics.queue_wait.set(self.wait_seconds)
