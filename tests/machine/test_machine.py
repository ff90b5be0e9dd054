"""The same rules under Hypothesis, which shrinks what it finds to a few steps."""

import random
from collections.abc import Callable

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.machine.rules import Rules
from tests.machine.scene import Scene
from tests.machine.walk import WEIGHTS

CHOICES = st.randoms(use_true_random=False)


class Delivery(RuleBasedStateMachine):
    """Everything in rules.py, as rules."""

    @initialize(seed=st.integers(0, 2**16))
    def begin(self, seed: int) -> None:
        self.scene = Scene(seed)
        self.taken = Rules(self.scene)

    def teardown(self) -> None:
        if hasattr(self, "scene"):
            try:
                self.scene.settle()
            finally:
                self.scene.close()


def _step(name: str) -> Callable[..., None]:
    def step(self: Delivery, rng: random.Random) -> None:
        self.taken.step(getattr(self.taken, name), rng)

    step.__name__ = name
    return step


for _name in WEIGHTS:
    setattr(Delivery, _name, rule(rng=CHOICES)(_step(_name)))

TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(
    max_examples=40,
    stateful_step_count=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
