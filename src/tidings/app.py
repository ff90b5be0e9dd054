"""The composition root: the only place that chooses adapters and wires components."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.types import ASGIApp

from tidings.agents.registry import AgentRegistry
from tidings.agents.workflow import ANALYSIS, DESCRIPTION, analysis_workflow
from tidings.analysis.library import Library, LibraryLimits
from tidings.analysis.prices import PriceList
from tidings.analysis.sandbox.pool import Sandbox, SandboxLimits
from tidings.domain.budgets import Plans, plans_of
from tidings.domain.context import SERVER
from tidings.domain.errors import InvalidInput
from tidings.domain.ports import Clock, IdSource
from tidings.egress.addresses import AllowedHosts
from tidings.egress.http import Egress
from tidings.events import log
from tidings.events.compaction import Compacted
from tidings.events.feed import Feed
from tidings.events.lineage import Epochs, Lineage
from tidings.events.log import Appended
from tidings.events.positions import Positions
from tidings.events.retention import Trimmed
from tidings.gateway.http.app import create_app
from tidings.gateway.presence import Presence
from tidings.gateway.services import Services
from tidings.gateway.socket import Backend
from tidings.gateway.sockets import Sockets
from tidings.health.metrics import Metrics
from tidings.health.parts import Part, Parts
from tidings.health.probes import Readiness, database_probe, disk_probe
from tidings.identity.keys import load_or_create_key
from tidings.identity.passwords import Passwords
from tidings.identity.service import Identity
from tidings.identity.tokens import AccessTokens
from tidings.models.chain import Chain, ChainRules, Closing
from tidings.models.patience import TimeLimits
from tidings.models.planner import Planner
from tidings.models.port import Model
from tidings.models.providers import named_models
from tidings.notifications.deliverer import Deliverer
from tidings.notifications.dispatcher import Dispatcher
from tidings.notifications.service import Notifications
from tidings.protocol.connection import PACE, Pace
from tidings.reports.service import Reports
from tidings.resilience.breaker import BreakerState
from tidings.router.accept import Router
from tidings.router.permissions import Permissions
from tidings.router.reads import Reads
from tidings.router.spending import Spending
from tidings.router.upkeep import Policy, Upkeep
from tidings.runs import queue
from tidings.runs.context import Engine
from tidings.runs.queue import Limits, RunEnded
from tidings.runs.worker import Worker
from tidings.settings import Settings, variables
from tidings.storage import backups
from tidings.storage.backups import DATA_SETS, DATABASE_FILE, KEY_FILE, BackedUp, Restored
from tidings.storage.hot.memory import LocalHints, MemoryTickets
from tidings.storage.hot.port import Hints
from tidings.storage.warm.sqlite import SqliteDatabase
from tidings.storage.warm.sqlite_file import SqliteFile
from tidings.system import SystemClock, UlidSource
from tidings.tools.catalogue import Catalogue
from tidings.tools.mcp.configuration import tool_servers
from tidings.tools.usage import usage_tools

if TYPE_CHECKING:
    from tidings.tools.mcp.servers import ToolServers


@dataclass(frozen=True, slots=True)
class Kept:
    """What the application holds on to, to begin with and to let go of."""

    database: SqliteDatabase
    sandbox: Sandbox
    passwords: Passwords
    lineage: Lineage
    library: Library
    tool_servers: "tuple[ToolServers, ...]"
    clock: Clock
    model: Model


@dataclass(frozen=True, slots=True)
class App:
    """Everything that runs, fully wired. Register agents and tools before it begins."""

    agents: AgentRegistry
    tools: Catalogue
    identity: Identity
    presence: Presence
    services: Services
    http: ASGIApp
    _parts: Parts
    _kept: Kept

    @property
    def readiness(self) -> Readiness:
        """Whether this server should be sent work."""
        return self.services.readiness

    async def begin(self) -> None:
        """Take over what an earlier process left: nobody else works on this store.

        Raises:
            Unavailable: `store_damaged`: an earlier process was cut off, and left damaged data.
        """
        kept = self._kept
        if not kept.lineage.was_closed():
            await kept.database.check()
        await kept.lineage.begin()
        await kept.database.write(SERVER, queue.release_all)
        await kept.library.sweep(kept.clock.now())
        for servers in kept.tool_servers:
            await servers.begin()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have runs worked on and events delivered around the block."""
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(self._parts.run())
            try:
                yield
            finally:
                running.cancel()

    async def stored_events(self, object_id: str) -> list[bytes]:
        """Return the frames of a run or a thread, oldest first; for the operator."""
        return await self._kept.database.read(SERVER, lambda tx: log.stored_events(tx, object_id))

    @property
    def tool_servers(self) -> "tuple[ToolServers, ...]":
        """The tool servers of the operator's file; none without one."""
        return self._kept.tool_servers

    async def confinement(self) -> dict[str, bool]:
        """Return which measures confine hostile SQL and files on this machine."""
        return await self._kept.sandbox.capabilities()

    async def close(self) -> None:
        """Let go of processes, threads and files."""
        kept = self._kept
        if isinstance(kept.model, Closing):
            await kept.model.close()
        await kept.sandbox.close()
        kept.passwords.close()
        await kept.lineage.end()
        await kept.database.close()


def new_ids() -> IdSource:
    """Return a source of ids for clients."""
    return UlidSource()


def back_up(settings: Settings, target: Path) -> BackedUp:
    """Write a backup of everything into a new folder, also while a server is at work."""
    return backups.back_up(settings.data_dir, target, SqliteFile)


def restore(settings: Settings, source: Path) -> Restored:
    """Put a backup in the place of everything; the caller makes sure that no server is at work."""
    now = datetime.fromtimestamp(SystemClock().now(), UTC)
    aside = settings.data_dir / f"replaced-{now:%Y%m%dT%H%M%S%fZ}"
    return backups.restore(source, settings.data_dir, aside, SqliteFile)


@dataclass(frozen=True, slots=True)
class Ground:
    """What every part stands on."""

    settings: Settings
    clock: Clock
    ids: IdSource
    hints: Hints
    database: SqliteDatabase
    metrics: Metrics


def build(settings: Settings, model: Model | None = None, pace: Pace = PACE) -> App:
    """Wire the application; read this function to see the whole system.

    `model` stands in for the one that the settings name; `pace` is how long connections wait.

    Raises:
        Unavailable: the store cannot be opened.
        InvalidInput: the settings name a model that cannot be used.
    """
    folder = settings.data_dir
    clock, ids, hints = SystemClock(), UlidSource(), LocalHints()
    database = SqliteDatabase.open(folder / DATABASE_FILE, hints.publish)
    ground = Ground(settings, clock, ids, hints, database, _metrics(hints))
    limits = Limits(settings.runs, settings.runs_per_user, settings.run_seconds)

    key, passwords = load_or_create_key(folder / KEY_FILE), Passwords()
    identity = Identity(database, AccessTokens(key), passwords, MemoryTickets(clock), clock, ids)
    library, sandbox = _library(ground)
    catalogue = Catalogue(usage_tools(library, sandbox, PriceList()))
    served = _tool_servers(ground, catalogue)
    reports = Reports(database, clock)
    agents = AgentRegistry()
    agents.register(ANALYSIS, DESCRIPTION, analysis_workflow(catalogue, reports.save))

    router = Router(database, clock, ids, agents, ANALYSIS, limits)
    plans = _plans(settings)
    engine = Engine(model or _model(ground), catalogue, clock, plans)
    worker = Worker(database, hints, engine, agents, ids, limits)
    lineage = Lineage(database, clock, ids, folder)
    upkeep = Upkeep(database, lineage, clock, _policy(settings))
    notifications, notifying = _notifications(ground)

    feed, positions = Feed(database, hints), Positions(database, clock)
    presence = Presence(identity, positions)
    always = {"worker": worker.run, "feed": feed.run, "presence": presence.run}
    always |= {"upkeep": upkeep.run} | notifying
    for servers in served:
        always["tool servers"] = servers.run
    parts = Parts(always, clock, ground.metrics)
    backend = Backend(identity, router, feed, positions, ground.metrics, clock, pace)
    services = Services(
        identity=identity,
        router=router,
        reads=Reads(database, clock, ids),
        permissions=Permissions(database, catalogue),
        spending=Spending(database, clock, plans),
        notifications=notifications,
        files=library,
        reports=reports,
        readiness=Readiness((database_probe(database), disk_probe(folder), parts.probe()), clock),
        sockets=Sockets(backend, presence, ids, origins=settings.origin_list),
        presence=presence,
        feed=feed,
        positions=positions,
        metrics=ground.metrics,
        clock=clock,
        ids=ids,
        upload_bytes_max=settings.upload_bytes,
    )
    kept = Kept(database, sandbox, passwords, lineage, library, served, clock, engine.model)
    return App(agents, catalogue, identity, presence, services, create_app(services), parts, kept)


def _notifications(ground: Ground) -> tuple[Notifications, dict[str, Part]]:
    """Wire what tells users of ends that they were not there for: its door and its parts."""
    database, clock, ids = ground.database, ground.clock, ground.ids
    egress = Egress(AllowedHosts(ground.settings.webhook_host_list))
    dispatcher = Dispatcher(database, ground.metrics, clock, ids)
    rng = random.SystemRandom()
    deliverer = Deliverer(database, ground.hints, egress, ground.metrics, clock, rng)
    parts: dict[str, Part] = {"dispatcher": dispatcher.run, "deliverer": deliverer.run}
    return Notifications(database, egress, clock, ids), parts


def _library(ground: Ground) -> tuple[Library, Sandbox]:
    """Wire what keeps users' files, and what reads them."""
    folder = ground.settings.data_dir
    limits = LibraryLimits(file_bytes=ground.settings.upload_bytes)
    sandbox = Sandbox(folder / "sandbox", SandboxLimits())
    database, clock, ids = ground.database, ground.clock, ground.ids
    return Library(folder / DATA_SETS, database, sandbox, clock, ids, limits), sandbox


def _tool_servers(ground: Ground, catalogue: Catalogue) -> "tuple[ToolServers, ...]":
    """Wire the tool servers of the operator's file, where there is one."""
    settings = ground.settings
    if not settings.mcp_file:
        return ()
    # Only those who have tool servers should wait for this.
    from tidings.tools.mcp.servers import ToolServers  # noqa: PLC0415 - a second to import

    try:
        servers = tool_servers(Path(settings.mcp_file).read_text())
    except OSError as error:
        raise InvalidInput("bad_setting", f"TIDINGS_MCP_FILE: {error.strerror}.") from error
    egress = Egress(AllowedHosts(settings.mcp_host_list))
    rng = random.SystemRandom()
    made = ToolServers(servers, variables, egress, ground.database, catalogue, ground.clock, rng)
    return (made,)


def _plans(settings: Settings) -> Plans:
    """Return what users may spend."""
    if not settings.plans:
        return Plans()
    try:
        return plans_of(Path(settings.plans).read_text())
    except OSError as error:
        raise InvalidInput("bad_setting", f"TIDINGS_PLANS: {error.strerror}.") from error


def _metrics(hints: Hints) -> Metrics:
    """Return metrics that count what is announced."""
    metrics = Metrics()
    hints.listen(Appended, lambda note: metrics.events.inc(len(note.entries)))
    hints.listen(RunEnded, lambda note: metrics.run_ended(note.status, note.seconds))
    hints.listen(Compacted, lambda note: metrics.joined.inc(note.rows))
    hints.listen(Trimmed, lambda note: metrics.trimmed.inc(note.events))
    hints.listen(Epochs, lambda note: metrics.lineage(note.count, note.lost_events))
    return metrics


def _policy(settings: Settings) -> Policy:
    return Policy(settings.compact_after_seconds, settings.keep_seconds)


def _model(ground: Ground) -> Model:
    """Return the chain that the settings name; without one the planner, which cannot fail."""
    settings, metrics = ground.settings, ground.metrics
    if not settings.model:
        return Planner()
    models = named_models(settings.model, settings.model_base_url or None)
    chance = random.Random().random  # noqa: S311 - spreads retries, keeps no secret
    times = TimeLimits(first_byte=settings.model_first_byte_seconds, gap=settings.model_gap_seconds)
    chain = Chain(models, ground.clock, chance, metrics, ChainRules(times))
    for number, link in enumerate(chain.health()):
        for state in BreakerState:
            gauge = metrics.model_breakers.labels(link.model, state)
            gauge.set_function(partial(_is_in_state, chain, number, state))
    return chain


def _is_in_state(chain: Chain, number: int, state: BreakerState) -> float:
    return float(chain.health()[number].state is state)
