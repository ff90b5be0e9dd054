"""kill -9 and SIGSTOP around every commit of a run whose tool must not be repeated, and in it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.crash.program import EFFECTS, PLACES, SEEN, STORY
from tests.harness.server import ENVIRONMENT, ROOT
from tidings.domain.events import TERMINAL

POINTS_MIN = 10
ONCE = (
    "agent_thinking",
    "input_required",
    "request_settled",
    "subagent_started",
    "tool_executing",
    "subagent_completed",
)
SECONDS_MAX = 110


@pytest.fixture(scope="module", params=["kill", "stop"])
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    subprocess.run(
        [sys.executable, "-m", "tests.crash.program", folder, request.param],
        check=True,
        timeout=SECONDS_MAX,
        cwd=ROOT,
        env=ENVIRONMENT,
    )
    return folder


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines() if path.exists() else []


@pytest.mark.parametrize("place", PLACES)
def test_wherever_the_process_dies_the_story_is_whole_and_nothing_is_done_twice(
    root: Path, place: str
) -> None:
    points = [folder for folder in sorted((root / place).iterdir()) if (folder / STORY).exists()]
    assert len(points) >= (1 if "effect" in place else POINTS_MIN)
    outcomes = [check_point(folder) for folder in points]
    if "effect" in place:
        assert outcomes == ["outcome_unknown"]
    else:
        assert {"paid", "outcome_unknown"} == set(outcomes)


def check_point(folder: Path) -> str:
    """Check one death and what came after it; return what the run answered."""
    frames = lines(folder / STORY)
    seen = lines(folder / SEEN)
    assert frames[: len(seen)] == seen, "what a client saw before is how the story begins"
    events = [json.loads(frame) for frame in frames]
    check_events(events)
    effects = lines(folder / EFFECTS)
    assert len(effects) <= 1
    [called] = [e["payload"] for e in events if e["type"] == "tool_completed"]
    answer = str(events[-1]["payload"]["answer"])
    if called["ok"]:
        assert (answer, len(effects)) == ("paid", 1)
    else:
        assert answer == called["error"]["code"] == "outcome_unknown"
    return answer


def check_events(events: list[dict[str, Any]]) -> None:
    types = [e["type"] for e in events]
    assert [e["offset"] for e in events] == list(range(1, len(events) + 1))
    assert len({e["event_id"] for e in events}) == len(events)
    assert types[:2] == ["message_received", "agent_started"]
    assert types[-1] == "agent_completed"
    assert sum(t in TERMINAL for t in types) == 1
    for once in ONCE:
        assert types.count(once) == 1
    assert len({e["run_id"] for e in events}) == 1
