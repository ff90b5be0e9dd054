"""A hundred thousand steps through everything that may go wrong, and every promise still kept."""

import pytest

from tests.machine.walk import STEPS, walk

STEPS_MIN = 100_000
CHUNKS = 8
WALKS = STEPS_MIN // STEPS // CHUNKS


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_whatever_happens_everybody_applies_everything_once(chunk: int) -> None:
    seeds = range(chunk * WALKS, (chunk + 1) * WALKS)
    steps = sum(walk(seed).steps for seed in seeds)
    print(f"{steps} steps, seeds {seeds.start} to {seeds.stop - 1}")
    assert steps == STEPS_MIN // CHUNKS


def test_the_same_seed_does_the_same() -> None:
    """Else a failure could not be replayed."""
    assert walk(7).heard == walk(7).heard
