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
    "ask": 12,
    "end": 8,
    "connect": 14,
    "cut": 6,
    "crash_program": 3,
    "reload": 1,
    "follow": 6,
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
    """What a walk did: its steps, and what every device applied, in its order."""

    steps: int
    heard: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def applied(self) -> int:
        return len(self.heard)


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
    scene = Scene(seed, database, core)
    rules, rng = Rules(scene), random.Random(f"walk {seed}")
    chosen = rng.choices(list(WEIGHTS), list(WEIGHTS.values()), k=steps)
    try:
        for name in chosen:
            rules.step(getattr(rules, name), rng)
        scene.settle()
    except AssertionError as error:
        last = chosen[max(0, rules.steps - 12) : rules.steps]
        error.add_note(f"seed {seed}, step {rules.steps}: {last}")
        raise
    finally:
        scene.close()
    histories = [device.history for device in scene.devices]
    stretches = [(h.device, s) for h in histories for s in h.stretches]
    return Walk(rules.steps, [(who, a.frame) for who, s in stretches for a in s.applied])


if __name__ == "__main__":
    walk(int(sys.argv[1]))
