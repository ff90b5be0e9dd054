"""Every one of many runs with random faults has one end, in time, and leaves nothing behind.

`make storm` does ten thousand.
"""

import asyncio
from pathlib import Path

import pytest

from tests.runs.storm import storm

RUNS = 250


@pytest.mark.parametrize("seed", [7])
def test_every_run_of_a_storm_ends_once_in_time_and_leaves_nothing(
    tmp_path: Path, seed: int
) -> None:
    found = asyncio.run(storm(tmp_path, RUNS, seed))
    assert found.runs == RUNS
    assert found.wrong() == []
