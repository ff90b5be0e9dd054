"""`tidings replay`: the same bytes again, at the pace they had, a multiple of it, or at once."""

import asyncio
import json
import signal
from pathlib import Path

import pytest

from tests.events.past import LONG_AGO, THREAD, past
from tests.harness.cli import refused, start, tidings
from tests.harness.server import ServerProcess, User
from tidings.cli.refusals import EXIT_FAILED
from tidings.cli.replay import BETWEEN_RUNS_SECONDS_MAX, factor_of, play, timed
from tidings.domain.errors import InvalidInput
from tidings.domain.events import EventType


async def _recorded(folder: Path) -> list[bytes]:
    """Record two runs: three events with 4 s and 0.5 s between them, and an hour later another."""
    async with past(folder) as store:
        await store.open_run("r1")
        await store.append("r1", (EventType.NOTICE, {"code": "x"}), at=LONG_AGO + 4)
        await store.end_run("r1", at=LONG_AGO + 4.5)
        await store.whole_run("r2", notices=1, at=LONG_AGO + 3600)
        rows = await store.rows('select frame from events order by stream, "offset"')
        return [bytes(frame) for (frame,) in rows]


@pytest.fixture
def frames(tmp_path: Path) -> list[bytes]:
    return asyncio.run(_recorded(tmp_path))


@pytest.mark.parametrize(
    ("pace", "waits"),
    [
        ("original", [0, 4, 0.5, BETWEEN_RUNS_SECONDS_MAX, 0, 0]),
        ("2", [0, 2, 0.25, BETWEEN_RUNS_SECONDS_MAX, 0, 0]),
        ("0.5", [0, 8, 1, BETWEEN_RUNS_SECONDS_MAX, 0, 0]),
        ("fast", [0, 0, 0, 0, 0, 0]),
    ],
)
def test_waits_are_those_of_the_run_and_short_between_runs(
    frames: list[bytes], pace: str, waits: list[float]
) -> None:
    slept: list[float] = []
    shown: list[bytes] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    asyncio.run(play(frames, factor_of(pace), shown.append, sleep))
    assert [wait for wait, _ in timed(frames, factor_of(pace))] == pytest.approx(waits)
    assert slept == pytest.approx([wait for wait in waits if wait])
    assert shown == frames


@pytest.mark.parametrize("pace", ["", "slow", "0", "-1", "nan", "inf", "1e9", "10001"])
def test_what_is_no_pace_is_refused(pace: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        factor_of(pace)
    assert refusal.value.code == "bad_pace"


def test_ctrl_c_ends_a_replay_and_says_how_far_it_came(frames: list[bytes], tmp_path: Path) -> None:
    process = start("replay", THREAD, "--pace", "0.01", "--data-dir", tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline().encode() == frames[0] + b"\n"
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=20)
    assert (process.returncode, rest) == (130, "")
    assert errors == "replaying 6 events in 452.0 s; Ctrl-C stops\n\nstopped after 1 of 6 events\n"


def test_a_replay_shows_what_the_user_saw(server: ServerProcess, ana: User) -> None:
    async def asked() -> str:
        async with ana.connected() as client:
            accepted = await client.ask("a question", "m-replay", agent="completes")
            await client.until_end(accepted["run_id"])
            return str(accepted["run_id"])

    run_id = asyncio.run(asked())
    lines = tidings("replay", run_id, "--data-dir", server.data_dir)
    assert [json.loads(line)["type"] for line in lines.out.splitlines()][-1] == "agent_completed"
    shown = tidings("replay", run_id, "--show", "--pace", "100", "--data-dir", server.data_dir)
    assert shown.status == 0
    assert "> a question" in shown.out
    assert "You said: a question" in shown.out
    bad = tidings("replay", run_id, "--pace", "slow", "--data-dir", server.data_dir)
    assert bad.status == EXIT_FAILED
    refused(bad, "bad_pace")
