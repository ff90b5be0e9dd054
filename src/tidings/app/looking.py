"""Where the health view looks: each section at the component that knows."""

from dataclasses import dataclass, replace

from tidings.app.fingerprints import fingerprints
from tidings.app.pieces import Abilities, Ground
from tidings.app.watching import Watching
from tidings.domain.context import SERVER
from tidings.domain.errors import Unavailable
from tidings.domain.tiers import Tier
from tidings.gateway.presence import Presence
from tidings.health.judgement import report_of
from tidings.health.nodes import NodeReport
from tidings.health.overview import (
    AgentHealth,
    LoopHealth,
    ModelHealth,
    QueueHealth,
    Sections,
    SpendingHealth,
)
from tidings.health.parts import Parts
from tidings.health.probes import Readiness
from tidings.health.tiers import look_at
from tidings.models.chain import Chain
from tidings.resilience.breaker import BreakerState
from tidings.resilience.wellness import Record
from tidings.runs import spending
from tidings.runs.context import Engine
from tidings.runs.worker import Worker


@dataclass(frozen=True, slots=True)
class Looking:
    """The components that know how they are; calling it looks at all of them, and at the fleet."""

    ground: Ground
    tiers: tuple[Tier, ...]
    readiness: Readiness
    parts: Parts
    watching: Watching
    able: Abilities
    engine: Engine
    presence: Presence
    worker: Worker

    async def __call__(self) -> Sections:
        """Look at every section."""
        checks, here = await self.readiness.findings(), await self._here()
        nodes = self.watching.roster.nodes
        return replace(here, checks=checks, spending=await self._spending(), nodes=nodes)

    async def report(self) -> NodeReport:
        """Return what this process tells the others of itself; writes nothing."""
        settings = self.ground.settings
        room = settings.runs if settings.works else 0
        alike = fingerprints(self.ground.settings, self.engine.plans, self.able)
        return report_of(await self._here(), room, self.worker.running, alike)

    async def _here(self) -> Sections:
        """Look at what only this process knows."""
        kept = self.able.servers if self.ground.settings.works else ()
        servers = [server for servers in kept for server in servers.health()]
        return Sections(
            draining=self.readiness.draining,
            checks=self.readiness.found,
            parts=self.parts.health(),
            tiers=await look_at(self.tiers),
            models=self._models(),
            tools=self.engine.catalogue.health(self.ground.clock.monotonic()),
            tool_servers=tuple(servers),
            agents=self._agents(),
            queue=self._queue(),
            loop=self._loop(),
            connections=len(self.presence),
            outbox_lag_seconds=self.ground.metrics.outbox_lag_seconds,
            clock_ahead_seconds=self.ground.clock.ahead_seconds,
            spending=None,
            nodes=(),
        )

    def _models(self) -> tuple[ModelHealth, ...]:
        """Return the models of all chains; a server's model without a chain is well."""
        model = self.engine.model
        found = [
            ModelHealth(link.model, link.state, link.under_way, link.fault)
            for link in self.engine.chains.health()
        ]
        if not isinstance(model, Chain):
            found.insert(0, ModelHealth(model.name, BreakerState.CLOSED, 0, ""))
        return tuple(found)

    def _agents(self) -> tuple[AgentHealth, ...]:
        lookout = self.watching.lookout
        found = []
        for entry in self.able.agents.entries():
            record = lookout.agents.get(entry.name, Record())
            figures = (record.ended, record.failed, record.users)
            well = lookout.is_well(entry.name)
            found.append(AgentHealth(entry.name, well, *figures, entry.stands_in_for))
        return tuple(found)

    def _queue(self) -> QueueHealth:
        lookout, intake = self.watching.lookout, self.watching.intake
        backlog = lookout.backlog
        return QueueHealth(
            queued=backlog.queued,
            ready=lookout.ready,
            running=backlog.running,
            waiting=backlog.waiting,
            wait_seconds=lookout.wait_seconds,
            shed=intake.shed,
            overload=intake.overload(),
        )

    def _loop(self) -> LoopHealth:
        loop = self.watching.loop
        return LoopHealth(loop.lag_seconds, loop.lag_seconds_max, loop.blocks, loop.last_block)

    async def _spending(self) -> SpendingHealth | None:
        day = spending.day_of(self.ground.clock.now())
        try:
            users, spent = await self.ground.database.read(
                SERVER, lambda tx: spending.over_all(tx, day)
            )
        except Unavailable:
            return None  # the tier's section says why
        return SpendingHealth(day, users, spent.tokens, spent.usd, spent.steps)
