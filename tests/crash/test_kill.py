"""kill -9, SIGSTOP and stalls around every commit of a run that pays, and inside its calls."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.crash.program import EFFECTS, PLACES, REPLY, SEEN, STORY
from tests.harness.server import ENVIRONMENT, ROOT
from tidings.domain.events import TERMINAL

POINTS_MIN = 10
ONCE = (
    "agent_thinking",
    "input_required",
    "request_settled",
    "subagent_started",
    "subagent_completed",
)
SECONDS_MAX = 240

pytestmark = pytest.mark.timeout(SECONDS_MAX + 10)


@pytest.fixture(scope="module", params=["kill", "stop", "stall"])
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
    assert len(points) >= (POINTS_MIN if place.endswith("commit") else 1)
    unknown = sum(check_point(folder) for folder in points)
    if place.endswith("pay"):
        assert unknown
    elif place.endswith("commit"):
        assert 0 < unknown < len(points) * REPLY.count("pay")


def check_point(folder: Path) -> int:
    """Check one death and what came after it; return of how many payments nobody knows."""
    frames = lines(folder / STORY)
    seen = lines(folder / SEEN)
    assert frames[: len(seen)] == seen, "what a client saw before is how the story begins"
    events = [json.loads(frame) for frame in frames]
    check_events(events)
    ended = {e["payload"]["call_id"]: e["payload"] for e in events if e["type"] == "tool_completed"}
    assert sorted(ended) == [f"c{n}" for n in range(1, len(REPLY) + 1)]
    effects = Counter(line.decode().rpartition("/")[2] for line in lines(folder / EFFECTS))
    for call_id, end in ended.items():
        check_call(end, effects[call_id])
    codes = ["ok" if end["ok"] else end["error"]["code"] for _, end in sorted(ended.items())]
    assert events[-1]["payload"]["answer"] == " ".join(codes)
    return codes.count("outcome_unknown")


def check_call(end: dict[str, Any], effects: int) -> None:
    """Check that a call took effect as its end says, and a payment never twice."""
    if end["tool"] != "pay":
        assert end["ok"]
        assert effects in {1, 2}
    elif end["ok"]:
        assert effects == 1
    else:
        assert end["error"]["code"] == "outcome_unknown"
        assert effects <= 1


def check_events(events: list[dict[str, Any]]) -> None:
    types = [e["type"] for e in events]
    assert [e["offset"] for e in events] == list(range(1, len(events) + 1))
    assert len({e["event_id"] for e in events}) == len(events)
    assert types[:2] == ["message_received", "agent_started"]
    assert types[-1] == "agent_completed"
    assert sum(t in TERMINAL for t in types) == 1
    for once in ONCE:
        assert types.count(once) == 1
    begun = [e["payload"]["call_id"] for e in events if e["type"] == "tool_executing"]
    assert begun == [f"c{n}" for n in range(1, len(REPLY) + 1)]
    assert len({e["run_id"] for e in events}) == 1
