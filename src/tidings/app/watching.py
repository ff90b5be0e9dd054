"""What watches the server while it works, and decides by that what it takes on."""

import random
from dataclasses import dataclass

from tidings.agents.registry import AgentRegistry
from tidings.app.pieces import Ground
from tidings.health.parts import Part
from tidings.health.watchdog import LoopWatch
from tidings.resilience.shedding import SheddingRules
from tidings.router.intake import Intake
from tidings.router.lookout import Lookout

QUEUE_SHARE_MAX = 0.1
"""How much of its time a run may wait for room."""


@dataclass(frozen=True, slots=True)
class Watching:
    """What watches: the loop, the queue; and the intake, which goes by both."""

    loop: LoopWatch
    lookout: Lookout
    intake: Intake

    @property
    def parts(self) -> dict[str, Part]:
        """What of it always runs."""
        return {"loop": self.loop.run, "lookout": self.lookout.run}


def watching(ground: Ground, agents: AgentRegistry) -> Watching:
    """Wire what watches; a queue that is as short as what is worked on at once is none."""
    settings, clock, metrics = ground.settings, ground.clock, ground.metrics
    loop = LoopWatch(clock, metrics)
    lookout = Lookout(ground.database, clock, metrics, settings.runs_per_user)
    seconds = settings.run_seconds * QUEUE_SHARE_MAX
    rules = SheddingRules(queued_min=settings.runs, wait_seconds_max=seconds)
    chance = random.Random().random  # noqa: S311 - spreads retries, keeps no secret
    intake = Intake(lookout, agents, rules, lambda: loop.lag_seconds, chance, metrics, clock)
    return Watching(loop, lookout, intake)
