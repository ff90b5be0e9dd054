"""The whole system, wired: read `build` to see it."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from tidings.agents.workflow import ANALYSIS
from tidings.app.application import App, Kept
from tidings.app.looking import Looking
from tidings.app.pieces import (
    Ground,
    abilities_of,
    chosen_plans,
    chronicle_of,
    count,
    dispatching,
    engine_of,
    limits_of,
    notifying,
    upkeep_of,
)
from tidings.app.reception import reception_of
from tidings.app.tiers import open_tiers
from tidings.app.watching import watching
from tidings.domain.ports import Clock, IdSource
from tidings.gateway.http.app import HEALTH_ROUTERS, ROUTERS, create_app
from tidings.gateway.services import Services
from tidings.health.metrics import Metrics
from tidings.health.parts import Parts
from tidings.health.probes import Readiness, database_probe, disk_probe
from tidings.health.service import Health
from tidings.identity.agreement import SigningKey
from tidings.identity.keys import load_or_create_key
from tidings.identity.passwords import Passwords
from tidings.identity.service import Identity
from tidings.identity.tokens import Tokens
from tidings.models.port import Model
from tidings.router.accept import Router
from tidings.router.choices import Choices
from tidings.router.departures import Departures
from tidings.router.permissions import Permissions
from tidings.router.reads import Reads
from tidings.router.spending import Spending
from tidings.runs.worker import Worker
from tidings.settings import Settings
from tidings.storage.warm.clock import StoreClock
from tidings.storage.warm.port import Database
from tidings.storage.warm.spared import SparedDatabase
from tidings.system import SystemClock, UlidSource


class Around(NamedTuple):
    """What a system stands on besides its settings; a rehearsal has a clock and faults of its own.

    `store` is put around the database that all but the start works on.
    """

    clock: Clock = SystemClock()
    store: Callable[[Database], Database] = lambda database: database


AROUND = Around()


def build(settings: Settings, model: Model | None = None, around: Around = AROUND) -> App:
    """Wire the application; read this function to see the whole system.

    `model` stands in for the one that the settings name.

    Raises:
        Unavailable: the store cannot be opened.
        InvalidInput: the settings name a model that cannot be used.
    """
    clock, key = StoreClock(around.clock), load_or_create_key(settings.key_path)
    ids, metrics, passwords = UlidSource(clock), Metrics(), Passwords()
    tiers = open_tiers(settings, clock, ids, key, metrics)
    hot, database = tiers.hot, SparedDatabase(around.store(tiers.warm), clock)
    count(hot.hints, metrics)
    ground = Ground(settings, clock, ids, hot.hints, database, metrics)
    limits, plans = limits_of(settings), chosen_plans(settings)

    identity = Identity(database, Tokens(key), passwords, hot.once, hot.rates, clock, ids)
    able = abilities_of(ground)
    watched = watching(ground, able.agents)
    router = Router(database, clock, ids, watched.intake, ANALYSIS, limits)
    engine = engine_of(ground, able.catalogue, plans, model)
    worker = Worker(database, hot.hints, engine, able.agents, ids, limits, tiers.scheduler)
    upkeep = upkeep_of(ground, tiers.lineage, able.library)
    notifications, telling = notifying(ground)
    past = chronicle_of(ground, tiers.cold)
    reception = reception_of(ground, hot, identity, router, past.levels)

    behind = {"worker": worker.run, "upkeep": upkeep.run} | telling if settings.works else {}
    always = hot.parts | watched.parts | able.parts(works=settings.works) | past.parts(settings)
    always |= tiers.parts | dispatching(ground, tiers.scheduler, limits)
    parts = Parts(reception.parts(settings) | behind | always, clock, metrics)
    readiness = Readiness((database_probe(database), disk_probe(settings.data_dir)), clock)
    known = (database, hot.tier, past.exporter, *tiers.scheduler.tiers)
    presence = reception.presence
    look = Looking(ground, known, readiness, parts, watched, able, engine, presence, worker)
    if not settings.alone:
        parts.add("roster", partial(watched.roster.run, look.report))
    services = Services(
        identity=identity,
        router=router,
        reads=Reads(database, clock, ids),
        choices=Choices(able.agents, watched.lookout, ANALYSIS),
        permissions=Permissions(database, able.catalogue),
        spending=Spending(database, clock, plans),
        notifications=notifications,
        history=past.history,
        files=able.library,
        reports=able.reports,
        readiness=readiness,
        health=Health(look, metrics, clock),
        sockets=reception.sockets,
        presence=presence,
        feed=reception.feed,
        positions=reception.positions,
        metrics=metrics,
        clock=clock,
        ids=ids,
        upload_bytes_max=settings.upload_bytes,
        metrics_token=settings.metrics_token,
        proxies=settings.proxies,
    )
    agreed, leaving = SigningKey(database, key, clock), Departures(database, able.library, clock)
    kept = Kept(tiers, past, passwords, able, clock, engine.model, watched.roster, agreed, leaving)
    http = create_app(services, ROUTERS if settings.serves_clients else HEALTH_ROUTERS)
    return App(able.agents, able.catalogue, services, http, parts, kept)


def new_ids() -> IdSource:
    """Return a source of ids for clients."""
    return UlidSource(SystemClock())
