"""What watches the server while it works, and decides by that what it takes on."""

import random
from dataclasses import dataclass
from importlib.metadata import version

from tidings.agents.registry import AgentRegistry
from tidings.app.pieces import Ground
from tidings.health.nodes import Node
from tidings.health.parts import Part
from tidings.health.roster import Roster
from tidings.health.watchdog import LoopWatch
from tidings.resilience.shedding import SheddingRules
from tidings.router.intake import Intake
from tidings.router.lookout import Lookout
from tidings.system import process_name

QUEUE_SHARE_MAX = 0.1
"""How much of its time a run may wait for room."""


@dataclass(frozen=True, slots=True)
class Watching:
    """What watches: the loop, the queue, the nodes; and the intake, which goes by all of them."""

    loop: LoopWatch
    lookout: Lookout
    roster: Roster
    intake: Intake

    @property
    def parts(self) -> dict[str, Part]:
        """What of it always runs."""
        return {"loop": self.loop.run, "lookout": self.lookout.run}


def watching(ground: Ground, agents: AgentRegistry) -> Watching:
    """Wire what watches, and what decides by it."""
    settings, clock, metrics = ground.settings, ground.clock, ground.metrics
    loop = LoopWatch(clock, metrics)
    lookout = Lookout(ground.database, clock, metrics, settings.runs_per_user)
    seconds = settings.run_seconds * QUEUE_SHARE_MAX
    rules = SheddingRules(wait_seconds_max=seconds)
    chance = random.Random().random  # noqa: S311 - spreads retries, keeps no secret
    roster = roster_of(ground)
    room, lag_seconds = (lambda: roster.room), (lambda: loop.lag_seconds)
    intake = Intake(lookout, agents, rules, room, lag_seconds, chance, metrics, clock)
    return Watching(loop, lookout, roster, intake)


def roster_of(ground: Ground) -> Roster:
    """Wire what knows the nodes."""
    settings, clock = ground.settings, ground.clock
    node_id, now = ground.ids.new("n"), clock.now()
    node = Node(node_id, process_name(), settings.role, version("tidings"), now)
    return Roster(ground.database, node, settings.runs, clock)
