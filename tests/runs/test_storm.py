"""Every one of many runs with random faults has one end, in time, and leaves nothing behind.

`make storm` does ten thousand.
"""

import asyncio
from pathlib import Path

import pytest

from tests.runs.storm import LATE_SECONDS_MAX, storm

RUNS = 250


@pytest.mark.parametrize("seed", [7])
def test_every_run_of_a_storm_ends_once_in_time_and_leaves_nothing(
    tmp_path: Path, seed: int
) -> None:
    found = asyncio.run(storm(tmp_path, RUNS, seed))
    assert found.runs == RUNS
    assert found.terminal_events == {1: RUNS}
    assert found.latest_seconds <= LATE_SECONDS_MAX
    assert {"completed", "failed", "cancelled"} <= found.statuses.keys()
    assert (found.gaps, found.paid_twice) == (0, 0)
    assert (found.tasks_left, found.files_left) == (0, 0)
