"""Who does well: several users' failures make somebody unwell, time makes them well again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.resilience.wellness import WELLNESS_RULES, Record, is_well

NOW = 1_000.0
REST = WELLNESS_RULES.rest_seconds


@pytest.mark.parametrize(
    ("record", "well"),
    [
        (Record(), True),
        (Record(ended=4, failed=4, users=4, failed_at=NOW), True),
        (Record(ended=5, failed=5, users=1, failed_at=NOW), True),
        (Record(ended=5, failed=3, users=2, failed_at=NOW), False),
        (Record(ended=7, failed=3, users=2, failed_at=NOW), True),
        (Record(ended=50, failed=50, users=50, failed_at=NOW - REST), True),
    ],
)
def test_it_takes_enough_failures_of_several_users_and_not_long_ago(
    record: Record, *, well: bool
) -> None:
    assert is_well(record, NOW) is well


@given(st.builds(Record, *[st.integers(0, 10**6)] * 3, st.floats(0, NOW)))
def test_nothing_is_unwell_for_good(record: Record) -> None:
    assert is_well(record, NOW + REST)
