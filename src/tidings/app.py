"""The composition root: the only place that chooses adapters and wires components."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp

from tidings.agents.registry import AgentRegistry
from tidings.agents.workflow import ANALYSIS, DESCRIPTION, analysis_workflow
from tidings.analysis.library import Library, LibraryLimits
from tidings.analysis.prices import PriceList
from tidings.analysis.sandbox.pool import Sandbox, SandboxLimits
from tidings.domain.ports import Clock, IdSource
from tidings.egress.addresses import AllowedHosts
from tidings.egress.http import Egress
from tidings.events import log
from tidings.events.feed import Feed
from tidings.events.log import Appended
from tidings.events.positions import Positions
from tidings.gateway.http.app import create_app
from tidings.gateway.presence import Presence
from tidings.gateway.services import Services
from tidings.gateway.socket import Backend
from tidings.gateway.sockets import Sockets
from tidings.health.metrics import Metrics
from tidings.health.probes import Readiness, database_probe, disk_probe
from tidings.identity.keys import load_or_create_key
from tidings.identity.passwords import Passwords
from tidings.identity.service import Identity
from tidings.identity.tokens import AccessTokens
from tidings.models.planner import Planner
from tidings.models.port import Model
from tidings.models.providers import provider_model
from tidings.notifications.deliverer import Deliverer
from tidings.notifications.dispatcher import Dispatcher
from tidings.notifications.service import Notifications
from tidings.protocol.connection import PACE, Pace
from tidings.reports.service import Reports
from tidings.router.accept import Router
from tidings.router.reads import Reads
from tidings.runs import queue
from tidings.runs.context import Engine
from tidings.runs.queue import Limits, RunEnded
from tidings.runs.worker import Worker
from tidings.settings import Settings
from tidings.storage.hot.memory import LocalHints, MemoryTickets
from tidings.storage.hot.port import Hints
from tidings.storage.warm.port import Database, Transaction
from tidings.storage.warm.sqlite import SqliteDatabase
from tidings.system import SystemClock, UlidSource
from tidings.tools.catalogue import Catalogue
from tidings.tools.usage import usage_tools

DATABASE_FILE = "tidings.db"
KEY_FILE = "secrets/signing.key"


@dataclass(frozen=True, slots=True)
class App:
    """Everything that runs, fully wired. Register agents and tools before it begins."""

    agents: AgentRegistry
    tools: Catalogue
    identity: Identity
    readiness: Readiness
    presence: Presence
    http: ASGIApp
    _database: SqliteDatabase
    _parts: tuple[Callable[[], Coroutine[Any, Any, None]], ...]
    _library: Library
    _sandbox: Sandbox
    _passwords: Passwords
    _clock: Clock
    _ids: IdSource

    async def begin(self) -> None:
        """Take over what an earlier process left: nobody else works on this store."""

        async def work(tx: Transaction) -> None:
            await log.open_store(tx, self._ids.new("s"), self._clock.now())
            await queue.release_all(tx)

        await self._database.write(work)
        await self._library.sweep(self._clock.now())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have runs worked on and events delivered around the block."""
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(part()) for part in self._parts]
            try:
                yield
            finally:
                for task in running:
                    task.cancel()

    async def stored_events(self, object_id: str) -> list[bytes]:
        """Return the frames of a run or a thread, oldest first; for the operator."""
        return await self._database.read(lambda tx: log.stored_events(tx, object_id))

    async def confinement(self) -> dict[str, bool]:
        """Return which measures confine hostile SQL and files on this machine."""
        return await self._sandbox.capabilities()

    async def close(self) -> None:
        """Let go of processes, threads and files."""
        await self._sandbox.close()
        self._passwords.close()
        await self._database.close()


def new_ids() -> IdSource:
    """Return a source of ids for clients."""
    return UlidSource()


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
    metrics, passwords = _metrics(hints), Passwords()
    limits = Limits(settings.runs, settings.runs_per_user, settings.run_seconds)

    key = load_or_create_key(folder / KEY_FILE)
    identity = Identity(database, AccessTokens(key), passwords, MemoryTickets(clock), clock, ids)

    sandbox = Sandbox(folder / "sandbox", SandboxLimits())
    limited = LibraryLimits(file_bytes=settings.upload_bytes)
    library = Library(folder / "files", database, sandbox, clock, ids, limited)
    catalogue = Catalogue(usage_tools(library, sandbox, PriceList()))
    reports = Reports(database, clock)
    agents = AgentRegistry()
    agents.register(ANALYSIS, DESCRIPTION, analysis_workflow(catalogue, reports.save))

    feed = Feed(database, hints)
    router = Router(database, clock, ids, agents, ANALYSIS, limits)
    engine = Engine(model or _model(settings), catalogue, clock)
    worker = Worker(database, hints, engine, agents, ids, limits)
    positions = Positions(database, clock)
    presence = Presence(identity, positions)
    backend = Backend(identity, router, feed, positions, metrics, clock, pace)
    sockets = Sockets(backend, presence, ids, origins=settings.origin_list)
    told, telling = _notifications(settings, database, hints, metrics, clock, ids)
    readiness = Readiness((database_probe(database), disk_probe(folder)), clock)
    services = Services(
        identity=identity,
        router=router,
        reads=Reads(database, clock, ids),
        notifications=told,
        files=library,
        reports=reports,
        readiness=readiness,
        sockets=sockets,
        presence=presence,
        feed=feed,
        positions=positions,
        metrics=metrics,
        clock=clock,
        ids=ids,
        upload_bytes_max=settings.upload_bytes,
    )
    return App(
        agents,
        catalogue,
        identity,
        readiness,
        presence,
        create_app(services),
        database,
        (worker.run, feed.run, presence.run, *telling),
        library,
        sandbox,
        passwords,
        clock,
        ids,
    )


def _notifications(
    settings: Settings,
    database: Database,
    hints: Hints,
    metrics: Metrics,
    clock: Clock,
    ids: IdSource,
) -> tuple[Notifications, tuple[Callable[[], Coroutine[Any, Any, None]], ...]]:
    """Wire what tells users of ends that they were not there for: its door and its parts."""
    egress = Egress(AllowedHosts(settings.webhook_host_list))
    dispatcher = Dispatcher(database, metrics, clock, ids)
    deliverer = Deliverer(database, hints, egress, metrics, clock, random.SystemRandom())
    return Notifications(database, egress, clock, ids), (dispatcher.run, deliverer.run)


def _metrics(hints: Hints) -> Metrics:
    """Return metrics that count what is announced."""
    metrics = Metrics()
    hints.listen(Appended, lambda note: metrics.events.inc(len(note.entries)))
    hints.listen(RunEnded, lambda note: metrics.run_ended(note.status, note.seconds))
    return metrics


def _model(settings: Settings) -> Model:
    if not settings.model:
        return Planner()
    return provider_model(settings.model, base_url=settings.model_base_url or None)
