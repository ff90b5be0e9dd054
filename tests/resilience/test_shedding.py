"""Shedding: what is refused first, and that the rest is done, also at ten times the load."""

import random
from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.resilience.priority import Priority
from tidings.resilience.shedding import (
    RETRY_SECONDS_MAX,
    RETRY_SECONDS_MIN,
    Bound,
    Load,
    SheddingRules,
    exceeded,
    expected_wait,
    retry_seconds,
)

RULES = SheddingRules(queued_max=900, wait_seconds_max=30.0, lag_seconds_max=0.9)
LOADS = st.builds(Load, st.integers(0, 2_000), st.floats(0, 600), st.floats(0, 5))


@pytest.mark.parametrize(
    ("load", "urgent", "later"),
    [
        (Load(10, 600.0, 0.0, 10), Bound.NONE, Bound.NONE),
        (Load(11, 10.1, 0.0, 10), Bound.NONE, Bound.WAIT),
        (Load(11, 30.1, 0.0, 10), Bound.WAIT, Bound.WAIT),
        (Load(299, 0.0, 0.0, 10), Bound.NONE, Bound.NONE),
        (Load(300, 0.0, 0.0, 10), Bound.NONE, Bound.LENGTH),
        (Load(900, 0.0, 0.0, 10), Bound.LENGTH, Bound.LENGTH),
        (Load(0, 0.0, 0.4, 10), Bound.NONE, Bound.LAG),
        (Load(0, 0.0, 1.0, 10), Bound.LAG, Bound.LAG),
    ],
)
def test_each_bound_keeps_the_less_urgent_out_first(
    load: Load, urgent: Bound, later: Bound
) -> None:
    assert exceeded(load, RULES, Priority.INTERACTIVE) is urgent
    assert exceeded(load, RULES, Priority.BACKGROUND) is later


@given(LOADS, st.floats(0, 1))
def test_what_makes_the_load_less_is_never_refused_and_hints_are_bounded(
    load: Load, chance: float
) -> None:
    assert exceeded(load, RULES, Priority.CANCEL) is Bound.NONE
    wait = retry_seconds(load, RULES, chance)
    assert RETRY_SECONDS_MIN <= wait <= 2 * RETRY_SECONDS_MAX


@given(LOADS)
def test_the_urgent_is_let_in_wherever_the_less_urgent_is(load: Load) -> None:
    if exceeded(load, RULES, Priority.BACKGROUND) is Bound.NONE:
        assert exceeded(load, RULES, Priority.INTERACTIVE) is Bound.NONE


def test_the_wait_of_a_further_run_is_expected_from_how_fast_the_queue_is_worked_off() -> None:
    assert expected_wait(100, 2.0, ended=20, seconds=10.0) == 50.0
    assert expected_wait(1, 2.0, ended=20, seconds=10.0) == 2.0
    assert expected_wait(100, 2.0, ended=0, seconds=10.0) == 2.0


PLACES, WORK_SECONDS, RUN_SECONDS, STEP_SECONDS = 16, 1.0, 60.0, 0.125
PEAK = PLACES / WORK_SECONDS
TRIES_MAX = 3


@dataclass
class Served:
    """What happened, by second: runs that ended in their time, those that did not, refusals."""

    good: list[int] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)


class SteppedServer:
    """A model of a server in virtual time: so many places, a queue, a look at it every second.

    Who is refused comes again when told to, TRIES_MAX times. A run that has waited for too long is
    worked on all the same, in vain: its time ends within it.
    """

    def __init__(self, rules: SheddingRules, seed: int) -> None:
        self.rules = rules
        self.rng = random.Random(seed)
        self.queue: deque[float] = deque()
        self.ends: list[tuple[float, float]] = []
        self.again: list[tuple[float, int]] = []
        self.ended: list[int] = []
        self.crowded = 0
        self.served = Served()

    def run(self, seconds: int, per_second: float, begin: int = 0) -> Served:
        self.served = Served()
        for second in range(begin, begin + seconds):
            self._look(second)
            for counts in (self.served.good, self.served.late, self.served.refused):
                counts.append(0)
            for step in range(round(1 / STEP_SECONDS)):
                self._step(second + step * STEP_SECONDS, per_second * STEP_SECONDS)
            self.ended.append(self.served.good[-1] + self.served.late[-1])
        return self.served

    def _look(self, second: int) -> None:
        """See what a lookout sees: the queue, its oldest, and how fast it is worked off."""
        self.oldest = second - self.queue[0] if self.queue else 0.0
        self.measured = min(10, self.crowded)
        self.crowded = self.crowded + 1 if self.queue else 0
        self.seen, self.taken = len(self.queue), 0

    @property
    def load(self) -> Load:
        ended = sum(self.ended[-self.measured :]) if self.measured else 0
        ready = self.seen + self.taken
        return Load(ready, expected_wait(ready, self.oldest, ended, self.measured), 0.0, PLACES)

    def _step(self, now: float, arriving: float) -> None:
        due = [tries for at, tries in self.again if at <= now]
        self.again = [(at, tries) for at, tries in self.again if at > now]
        fresh = int(arriving) + (self.rng.random() < arriving % 1)
        for tries in (*due, *[0] * fresh):
            self._ask(now, tries)
        for _, began in [end for end in self.ends if end[0] <= now]:
            (self.served.good if now - began <= RUN_SECONDS else self.served.late)[-1] += 1
        self.ends = [end for end in self.ends if end[0] > now]
        while self.queue and len(self.ends) < PLACES:
            self.ends.append((now + WORK_SECONDS, self.queue.popleft()))

    def _ask(self, now: float, tries: int) -> None:
        if exceeded(self.load, self.rules, Priority.INTERACTIVE) is Bound.NONE:
            self.queue.append(now)
            self.taken += 1
            return
        self.served.refused[-1] += 1
        if tries < TRIES_MAX:
            wait = retry_seconds(self.load, self.rules, self.rng.random())
            self.again.append((now + wait, tries + 1))


SHEDS = SheddingRules(queued_max=10_000, wait_seconds_max=0.1 * RUN_SECONDS)
SHEDS_NOTHING = SheddingRules(10**9, 1e9)


@pytest.mark.parametrize("seed", range(5))
def test_at_ten_times_the_load_the_work_that_counts_goes_on(seed: int) -> None:
    server = SteppedServer(SHEDS, seed)
    overloaded = server.run(300, 10 * PEAK)
    warm = overloaded.good[5:]
    assert sum(warm) >= 0.95 * PEAK * len(warm)
    assert min(sum(warm[at : at + 10]) for at in range(0, len(warm) - 10, 10)) >= 0.8 * PEAK * 10
    assert sum(overloaded.late) == 0
    after = server.run(120, 0.5 * PEAK, begin=300)
    assert sum(after.refused[30:]) == 0
    assert sum(after.good[60:]) >= 0.9 * 0.5 * PEAK * 60


def test_without_shedding_all_the_work_is_in_vain_which_is_why_there_is_shedding() -> None:
    server = SteppedServer(SHEDS_NOTHING, 1)
    overloaded = server.run(300, 10 * PEAK)
    assert sum(overloaded.good[120:]) == 0
    assert sum(server.run(120, 0.5 * PEAK, begin=300).good) == 0
