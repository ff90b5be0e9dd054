"""The pieces of the system that take some wiring of their own."""

import random
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tidings.agents.registry import AgentRegistry
from tidings.agents.workflow import ANALYSIS, DESCRIPTION, analysis_workflow
from tidings.analysis.library import Library, LibraryLimits
from tidings.analysis.prices import PriceList
from tidings.analysis.sandbox.pool import Sandbox, SandboxLimits
from tidings.app.tiers import Cold
from tidings.domain.budgets import Plans, plans_of
from tidings.domain.errors import InvalidInput
from tidings.domain.ports import IdSource
from tidings.egress.addresses import AllowedHosts
from tidings.egress.http import Egress
from tidings.events.compaction import Compacted
from tidings.events.lineage import Continuity, Epochs
from tidings.events.log import Appended
from tidings.events.retention import Trimmed
from tidings.health.levels import DeliveryLevels
from tidings.health.metrics import Metrics
from tidings.health.parts import Part
from tidings.history.exporter import Exporter
from tidings.history.latencies import Latencies
from tidings.history.service import History
from tidings.models.chain import Chain, ChainRules
from tidings.models.chains import Chains
from tidings.models.patience import TimeLimits
from tidings.models.planner import Planner
from tidings.models.port import Model
from tidings.models.providers import named_models
from tidings.notifications.deliverer import Deliverer
from tidings.notifications.dispatcher import Dispatcher
from tidings.notifications.service import Notifications
from tidings.reports.service import Reports
from tidings.resilience.breaker import BreakerState
from tidings.router.upkeep import DUTY_SECONDS, Policy, Upkeep
from tidings.runs.context import Engine
from tidings.runs.dispatch import Dispatch
from tidings.runs.queue import LEASE_SECONDS, SHARED_LEASE_SECONDS, Limits, RunEnded, RunLost
from tidings.scheduling.port import Scheduler
from tidings.settings import Settings, variables
from tidings.storage.backups import DATA_SETS
from tidings.storage.cold.port import ColdStore
from tidings.storage.hot.port import Hints
from tidings.storage.warm.clock import StoreClock
from tidings.storage.warm.duties import Duty
from tidings.storage.warm.port import Database
from tidings.tools.catalogue import Catalogue
from tidings.tools.mcp.configuration import tool_servers
from tidings.tools.usage import usage_tools

if TYPE_CHECKING:
    from tidings.tools.mcp.servers import ToolServers


@dataclass(frozen=True, slots=True)
class Ground:
    """What every part stands on."""

    settings: Settings
    clock: StoreClock
    ids: IdSource
    hints: Hints
    database: Database
    metrics: Metrics


def notifying(ground: Ground) -> tuple[Notifications, dict[str, Part]]:
    """Wire what tells users of ends that they were not there for: its door and its parts."""
    database, clock, ids = ground.database, ground.clock, ground.ids
    egress = Egress(AllowedHosts(ground.settings.webhook_host_list))
    dispatcher = Dispatcher(database, ground.metrics, clock, ids)
    rng = random.SystemRandom()
    deliverer = Deliverer(database, ground.hints, egress, ground.metrics, clock, rng)
    parts: dict[str, Part] = {"dispatcher": dispatcher.run, "deliverer": deliverer.run}
    return Notifications(database, egress, clock, ids), parts


@dataclass(frozen=True, slots=True)
class Abilities:
    """What agents can do, and the agents: files, what reads them, tools, reports."""

    library: Library
    sandbox: Sandbox
    catalogue: Catalogue
    servers: "tuple[ToolServers, ...]"
    reports: Reports
    agents: AgentRegistry

    def parts(self, *, works: bool) -> dict[str, Part]:
        """Return what of it always runs: elsewhere than at work, accepted tools are only known."""
        if not self.servers:
            return {}
        return {"tool servers": self.servers[0].run if works else self.servers[0].follow}


def abilities_of(ground: Ground) -> Abilities:
    """Wire the tools, and the agent that comes with the server."""
    library, sandbox = library_of(ground)
    catalogue = Catalogue(usage_tools(library, sandbox, PriceList()))
    servers = served_tools(ground, catalogue)
    reports = Reports(ground.database, ground.clock)
    agents = AgentRegistry()
    agents.register(ANALYSIS, DESCRIPTION, analysis_workflow(catalogue, reports.save))
    return Abilities(library, sandbox, catalogue, servers, reports, agents)


def library_of(ground: Ground) -> tuple[Library, Sandbox]:
    """Wire what keeps users' files, and what reads them."""
    folder = ground.settings.data_dir
    limits = LibraryLimits(file_bytes=ground.settings.upload_bytes)
    sandbox = Sandbox(ground.settings.scratch_path, SandboxLimits())
    database, clock, ids = ground.database, ground.clock, ground.ids
    return Library(folder / DATA_SETS, database, sandbox, clock, ids, limits), sandbox


def served_tools(ground: Ground, catalogue: Catalogue) -> "tuple[ToolServers, ...]":
    """Wire the tool servers of the operator's file, where there is one."""
    settings = ground.settings
    if not settings.mcp_file:
        return ()
    # Only those who have tool servers should wait for this.
    from tidings.tools.mcp.servers import ToolServers  # noqa: PLC0415 - a second to import

    try:
        servers = tool_servers(Path(settings.mcp_file).read_text())
    except OSError as error:
        raise _unread("TIDINGS_MCP_FILE", settings.mcp_file, error) from error
    egress = Egress(AllowedHosts(settings.mcp_host_list))
    rng = random.SystemRandom()
    made = ToolServers(servers, variables, egress, ground.database, catalogue, ground.clock, rng)
    return (made,)


def chosen_plans(settings: Settings) -> Plans:
    """Return what users may spend."""
    if not settings.plans:
        return Plans()
    try:
        return plans_of(Path(settings.plans).read_text())
    except OSError as error:
        raise _unread("TIDINGS_PLANS", settings.plans, error) from error


def _unread(setting: str, path: str, error: OSError) -> InvalidInput:
    return InvalidInput("bad_setting", f"{setting}: {path}: {error.strerror}.")


def count(hints: Hints, metrics: Metrics) -> None:
    """Count what this process announces."""
    hints.listen(Appended, lambda note: metrics.events.inc(len(note.entries)))
    hints.listen(RunEnded, lambda note: metrics.run_ended(note.status, note.seconds))
    hints.listen(RunLost, lambda _: metrics.fenced_writes.inc())
    hints.listen(Compacted, lambda note: metrics.joined.inc(note.rows))
    hints.listen(Trimmed, lambda note: metrics.trimmed.inc(note.events))
    hints.listen(Trimmed, lambda note: metrics.history.lost_events.inc(note.lost))
    hints.listen(Epochs, lambda note: metrics.lineage(note.count, note.lost_events))


def limits_of(settings: Settings) -> Limits:
    """Return how many runs are worked on; where another worker may take over, it does so soon."""
    lease = LEASE_SECONDS if settings.alone else SHARED_LEASE_SECONDS
    return Limits(settings.runs, settings.runs_per_user, settings.run_seconds, lease)


@dataclass(frozen=True, slots=True)
class Chronicle:
    """The history: what keeps it, what is asked of it, who feeds it, and latencies to feed it."""

    store: ColdStore
    history: History
    exporter: Exporter
    levels: DeliveryLevels
    latencies: Latencies

    def parts(self, settings: Settings) -> dict[str, Part]:
        """Return what goes on: who works brings runs, who has clients the latencies it sees."""
        edge = {"latencies": self.latencies.run} if settings.serves_clients else {}
        return edge | ({"exporter": self.exporter.run} if settings.works else {})


def chronicle_of(ground: Ground, cold: Cold) -> Chronicle:
    """Wire what brings ended runs to the cold tier, and what asks it."""
    database, clock, metrics = ground.database, ground.clock, ground.metrics.history
    server = ground.ids.new("w")
    duty = Duty(database, clock, "history", server, cold.policy.duty_seconds)
    levels = DeliveryLevels(metrics, clock)
    exporter = Exporter(database, cold.store, duty, clock, metrics, cold.policy)
    latencies = Latencies(cold.store, levels, server, clock, cold.policy)
    history = History(database, cold.store, clock)
    return Chronicle(cold.store, history, exporter, levels, latencies)


def upkeep_of(ground: Ground, lineage: Continuity, library: Library) -> Upkeep:
    """Wire what joins and lets go of what is old."""
    settings, database, clock = ground.settings, ground.database, ground.clock
    duty = Duty(database, clock, "upkeep", ground.ids.new("w"), DUTY_SECONDS)
    policy = Policy(settings.compact_after_seconds, settings.keep_seconds)
    return Upkeep(database, duty, lineage, library, clock, policy)


def dispatching(ground: Ground, scheduler: Scheduler, limits: Limits) -> dict[str, Part]:
    """Wire what sends runs to the scheduler, where there is one."""
    if not scheduler.patience_seconds:
        return {}
    dispatch = Dispatch(ground.database, ground.hints, scheduler, ground.clock, limits)
    return {"dispatch": dispatch.run}


def engine_of(ground: Ground, catalogue: Catalogue, plans: Plans, model: Model | None) -> Engine:
    """Wire what agents work with; `model` stands in for the one that the settings name."""
    chains, chance = chains_of(ground), random.Random().random  # noqa: S311 - spreads retries
    model = model or chosen_model(ground, chains)
    return Engine(model, chains, catalogue, ground.clock, chance, plans)


def chains_of(ground: Ground) -> Chains:
    """Return what makes chains of models, by the settings' time limits."""
    settings = ground.settings
    chance = random.Random().random  # noqa: S311 - spreads retries, keeps no secret
    times = TimeLimits(first_byte=settings.model_first_byte_seconds, gap=settings.model_gap_seconds)
    return Chains(ground.clock, chance, ground.metrics, ChainRules(times))


def chosen_model(ground: Ground, chains: Chains) -> Model:
    """Return the chain that the settings name; without one the planner, which cannot fail."""
    settings, metrics = ground.settings, ground.metrics
    if not settings.model:
        return Planner()
    chain = chains.made(named_models(settings.model, settings.model_base_url or None))
    for number, link in enumerate(chain.health()):
        for state in BreakerState:
            gauge = metrics.model_breakers.labels(link.model, state)
            gauge.set_function(partial(_is_in_state, chain, number, state))
    return chain


def _is_in_state(chain: Chain, number: int, state: BreakerState) -> float:
    return float(chain.health()[number].state is state)
