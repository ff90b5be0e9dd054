"""kill -9 before and after every commit of telling a user who is away. Rows F47 and F50."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.away import PLACES, RECEIVED, TOLD
from tests.harness.server import ENVIRONMENT, ROOT

POINTS = 6
"""The store, the webhook, the end, the look, the claim, the record."""
SECONDS_MAX = 240

pytestmark = pytest.mark.timeout(SECONDS_MAX + 10)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("away")
    subprocess.run(
        [sys.executable, "-m", "tests.crash.away", folder],
        check=True,
        timeout=SECONDS_MAX,
        cwd=ROOT,
        env=ENVIRONMENT,
    )
    return folder


@pytest.mark.parametrize("place", PLACES)
def test_wherever_the_process_dies_there_is_one_item_and_one_id_delivered(
    root: Path, place: str
) -> None:
    lives = [folder for folder in sorted((root / place).iterdir()) if (folder / TOLD).exists()]
    calls = []
    for folder in lives[:POINTS]:
        told = json.loads((folder / TOLD).read_text())
        assert told == {"items": 1, "events": 1, "deliveries": ["delivered"]}, folder
        received = (folder / RECEIVED).read_text().split()
        assert set(received) == {"e_end_of_r_1"}
        calls.append(len(received))
    again = 2 if place == "before the commit" else 1
    assert calls == [1] * (POINTS - 1) + [again], "only what was not recorded is called again"
