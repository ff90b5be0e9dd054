"""One decision on retries: what is tried again, when, and how often in all."""

from hypothesis import given
from hypothesis import strategies as st

from tidings.resilience.retry import RetryBudget, RetryPolicy, Setback, decide

POLICY = RetryPolicy(retries_max=2, base_seconds=0.5, cap_seconds=8.0, wait_seconds_max=10.0)
SETBACKS = st.builds(
    Setback,
    retries=st.integers(0, 5),
    passing=st.booleans(),
    retry_after_seconds=st.none() | st.floats(0, 100),
    shown=st.booleans(),
    remaining_seconds=st.floats(0, 200),
)


def setback(
    retries: int = 0, after: float | None = None, *, shown: bool = False, remaining: float = 60.0
) -> Setback:
    return Setback(retries, True, after, shown, remaining)


@given(SETBACKS, st.booleans(), st.floats(0, 1))
def test_a_wait_never_breaks_a_rule(told: Setback, allowed: bool, chance: float) -> None:
    wait = decide(POLICY, told, allowed=allowed, chance=chance)
    if wait is None:
        return
    assert allowed
    assert told.passing
    assert not told.shown
    assert told.retries < POLICY.retries_max
    assert 0 <= wait < told.remaining_seconds
    assert wait <= POLICY.wait_seconds_max
    assert wait >= (told.retry_after_seconds or 0.0)


@given(st.integers(0, 1), st.floats(0, 1))
def test_without_word_from_the_other_side_the_wait_is_drawn_from_a_growing_span(
    retries: int, chance: float
) -> None:
    wait = decide(POLICY, setback(retries), allowed=True, chance=chance)
    assert wait == chance * (0.5 * 2**retries)


def test_a_demanded_wait_is_kept_with_a_little_more_by_chance() -> None:
    assert decide(POLICY, setback(after=3.0), allowed=True, chance=0.0) == 3.0
    assert decide(POLICY, setback(after=3.0), allowed=True, chance=1.0) == 3.5


def test_a_demanded_wait_that_is_too_long_is_no_retry() -> None:
    assert decide(POLICY, setback(after=30.0), allowed=True, chance=0.0) is None
    assert decide(POLICY, setback(after=3.0, remaining=3.0), allowed=True, chance=0.0) is None


def test_what_was_shown_is_not_tried_again() -> None:
    assert decide(POLICY, setback(shown=True), allowed=True, chance=0.0) is None


@given(st.integers(0, 2_000))
def test_retries_are_a_tenth_of_the_requests_and_a_reserve(requests: int) -> None:
    budget, retries = RetryBudget(share=0.1, reserve=10.0), 0
    for _ in range(requests):
        budget.earn()
        while budget.allows:
            budget.spend()
            retries += 1
    assert retries <= 10 + requests * 0.1


def test_the_reserve_does_not_grow_beyond_itself() -> None:
    budget = RetryBudget(share=0.1, reserve=2.0)
    for _ in range(1_000):
        budget.earn()
    budget.spend()
    budget.spend()
    assert not budget.allows
