"""An intake as the application has it, whose lookout looks when the test says so."""

from typing import Never

from tidings.agents.registry import AgentRegistry
from tidings.domain.ports import Clock
from tidings.health.metrics import Metrics
from tidings.resilience.shedding import SheddingRules
from tidings.router.intake import Intake
from tidings.router.lookout import Lookout
from tidings.runs.queue import Limits
from tidings.storage.warm.port import Database


def intake_of(
    database: Database,
    clock: Clock,
    agents: AgentRegistry,
    limits: Limits | None = None,
    rules: SheddingRules | None = None,
    room: int | None = None,
) -> tuple[Intake, Lookout]:
    """Return an intake on a loop that is never late, and its lookout."""
    metrics = Metrics()
    limits, rules = limits or Limits(), rules or SheddingRules()
    lookout = Lookout(database, clock, metrics, limits.runs_per_user)
    room = limits.runs if room is None else room
    intake = Intake(lookout, agents, rules, lambda: room, lambda: 0.0, lambda: 0.5, metrics, clock)
    return intake, lookout


def named_agents(*names: str) -> AgentRegistry:
    """Return a registry of agents that are never called."""
    registry = AgentRegistry()
    for name in names:
        registry.register(name, "A test's.", _never)
    return registry


async def _never(_ctx: object) -> Never:
    raise AssertionError
