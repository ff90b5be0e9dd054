"""Breakers: closed while it works, open when it fails, one probe at a time, never for good."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tidings.resilience.breaker import Breaker, BreakerRules, Breakers, BreakerState, Passage

RULES = BreakerRules(
    window_seconds=60.0,
    calls_min=4,
    calls_max=20,
    share=0.5,
    open_seconds=5.0,
    open_seconds_max=20.0,
    probe_seconds_max=100.0,
)


def failing(times: int, now: float = 0.0) -> Breaker:
    breaker = Breaker(RULES)
    for _ in range(times):
        breaker.failed(now, breaker.admit(now))
    return breaker


def test_it_opens_when_half_of_enough_calls_failed() -> None:
    assert failing(3).state(0.0) is BreakerState.CLOSED
    assert failing(4).state(0.0) is BreakerState.OPEN
    mixed = Breaker(RULES)
    for fails in (False, False, False, True, True):
        (mixed.failed if fails else mixed.succeeded)(0.0, mixed.admit(0.0))
    assert mixed.state(0.0) is BreakerState.CLOSED
    mixed.failed(0.0, mixed.admit(0.0))
    assert mixed.state(0.0) is BreakerState.OPEN


def test_failures_outside_the_window_are_forgotten() -> None:
    breaker = failing(3, now=0.0)
    breaker.failed(61.0, breaker.admit(61.0))
    assert breaker.state(61.0) is BreakerState.CLOSED


def test_after_its_time_one_probe_goes_and_decides() -> None:
    breaker = failing(4)
    assert breaker.admit(4.9) is Passage.REFUSED
    assert breaker.state(5.0) is BreakerState.HALF_OPEN
    probe = breaker.admit(5.0)
    assert probe is Passage.PROBE
    assert breaker.admit(5.0) is Passage.REFUSED
    breaker.succeeded(6.0, probe)
    assert breaker.state(6.0) is BreakerState.CLOSED
    assert breaker.admit(6.0) is Passage.ORDINARY


def test_a_failed_probe_doubles_the_pause_up_to_its_bound() -> None:
    breaker, now, pauses = failing(4), 0.0, []
    for _ in range(5):
        pauses.append(breaker.wait_seconds(now))
        now += breaker.wait_seconds(now)
        breaker.failed(now, breaker.admit(now))
    assert pauses == [5.0, 10.0, 20.0, 20.0, 20.0]


def test_an_abandoned_probe_makes_room_for_the_next() -> None:
    breaker = failing(4)
    breaker.abandoned(5.0, breaker.admit(5.0))
    assert breaker.admit(5.0) is Passage.PROBE


def test_a_probe_of_which_nothing_is_heard_is_given_up() -> None:
    breaker = failing(4)
    assert breaker.admit(5.0) is Passage.PROBE
    assert breaker.admit(104.9) is Passage.REFUSED
    assert breaker.admit(105.0) is Passage.PROBE


def test_what_began_before_it_opened_does_not_close_it() -> None:
    breaker = Breaker(RULES)
    early = breaker.admit(0.0)
    for _ in range(4):
        breaker.failed(0.0, breaker.admit(0.0))
    breaker.succeeded(1.0, early)
    assert breaker.state(1.0) is BreakerState.OPEN


@given(st.lists(st.booleans(), max_size=60))
def test_never_for_good(outcomes: list[bool]) -> None:
    """Whatever happened, a call is let in within the longest pause."""
    breaker, now = Breaker(RULES), 0.0
    for fails in outcomes:
        passage = breaker.admit(now)
        if passage is not Passage.REFUSED:
            (breaker.failed if fails else breaker.succeeded)(now, passage)
        now += 1.0
    assert breaker.wait_seconds(now) <= RULES.open_seconds_max
    assert breaker.admit(now + RULES.open_seconds_max) is not Passage.REFUSED


def test_one_user_s_faults_open_nobody_else_s_breaker() -> None:
    breakers = Breakers(RULES)
    for _ in range(4):
        own = breakers.of(("openai:m", "ana"))
        own.failed(0.0, own.admit(0.0))
    assert breakers.of(("openai:m", "ana")).state(0.0) is BreakerState.OPEN
    assert breakers.of(("openai:m", "bob")).state(0.0) is BreakerState.CLOSED
    assert breakers.of("openai:m").state(0.0) is BreakerState.CLOSED
    assert len(dict(breakers.states(0.0))) == 3


def test_keys_are_bounded_and_the_unused_go_first() -> None:
    breakers = Breakers(RULES, keys_max=2)
    first = breakers.of("a")
    breakers.of("b")
    assert breakers.of("a") is first
    breakers.of("c")
    assert [key for key, _ in breakers.states(0.0)] == ["a", "c"]


class BreakerMachine(RuleBasedStateMachine):
    """Any order of calls, outcomes and time: at most one probe is out, and none is let in early."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(RULES)
        self.now = 0.0
        self.out: list[Passage] = []

    @rule(seconds=st.floats(0, 30))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def call(self) -> None:
        expected = self.breaker.state(self.now)
        passage = self.breaker.admit(self.now)
        assert (passage is Passage.REFUSED) == (expected is BreakerState.OPEN)
        if passage is not Passage.REFUSED:
            self.out.append(passage)

    @rule(kind=st.sampled_from(["succeeded", "failed", "abandoned"]), last=st.booleans())
    def answer(self, kind: str, last: bool) -> None:
        if not self.out:
            return
        passage = self.out.pop(-1 if last else 0)
        if kind == "abandoned":
            self.breaker.abandoned(self.now, passage)
        elif kind == "failed":
            self.breaker.failed(self.now, passage)
        else:
            self.breaker.succeeded(self.now, passage)

    @invariant()
    def the_wait_is_bounded(self) -> None:
        assert self.breaker.wait_seconds(self.now) <= RULES.probe_seconds_max + 1e-6


TestBreakerMachine = BreakerMachine.TestCase
