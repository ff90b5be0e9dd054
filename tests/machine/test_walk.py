"""A hundred thousand steps through everything that may go wrong, and every promise still kept."""

import pytest

from tests.machine.walk import STEPS, walk

STEPS_MIN = 100_000
CHUNKS = 8
WALKS = STEPS_MIN // STEPS // CHUNKS


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_whatever_happens_everybody_applies_everything_once(
    chunk: int, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds = range(chunk * WALKS, (chunk + 1) * WALKS)
    walks = [walk(seed) for seed in seeds]
    steps, applied = sum(w.steps for w in walks), sum(w.applied for w in walks)
    with capsys.disabled():
        print(f" {steps} steps, {applied} events applied ", end="")
    assert steps == STEPS_MIN // CHUNKS


def test_the_same_seed_does_the_same() -> None:
    """Else a failure could not be replayed."""
    assert walk(7).heard == walk(7).heard
