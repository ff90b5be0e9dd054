"""A long random walk over the rules: `python -m tests.machine.walk SEED` replays one."""

import random
import sys
from dataclasses import dataclass, field

from tests.machine.rules import Rules
from tests.machine.scene import Scene
from tests.machine.shelf import SteppedDatabase
from tidings.protocol.client import ClientCore

STEPS = 250
"""How many steps one walk has, before everything settles and all is checked."""
WEIGHTS = {
    "talk": 60,
    "tell": 30,
    "ask": 10,
    "end": 8,
    "connect": 14,
    "cut": 6,
    "crash_program": 3,
    "reload": 1,
    "follow": 2,
    "take_over": 1,
    "stall": 3,
    "repeat": 2,
    "nonsense": 0.2,
    "hint": 8,
    "slow_store": 8,
    "fail_store": 2,
    "restart": 1,
    "drain": 0.5,
    "wait": 5,
    "expire": 0.3,
    "trim": 2,
    "compact": 4,
    "remove": 1,
    "back_up": 2,
    "rewind": 1,
}


@dataclass
class Walk:
    """What a walk did, for whoever has to find out."""

    seed: int
    scene: Scene
    trace: list[str] = field(default_factory=list)


def walk(
    seed: int,
    database: type[SteppedDatabase] = SteppedDatabase,
    core: type[ClientCore] = ClientCore,
    steps: int = STEPS,
) -> Walk:
    """Walk, settle, check; the same seed does the same.

    Raises:
        AssertionError: a promise is broken; its notes tell the seed and the last steps.
    """
    walked = Walk(seed, Scene(seed, database, core))
    rules, rng = Rules(walked.scene), random.Random(f"walk {seed}")
    chosen = rng.choices(list(WEIGHTS), list(WEIGHTS.values()), k=steps)
    try:
        for name in chosen:
            walked.trace.append(name)
            rules.step(getattr(rules, name), rng)
        walked.trace.append("settle")
        walked.scene.settle()
    except AssertionError as error:
        error.add_note(f"seed {seed}, step {len(walked.trace)}: ...{walked.trace[-12:]}")
        raise
    finally:
        walked.scene.server.crash()
    return walked


if __name__ == "__main__":
    walk(int(sys.argv[1]))
