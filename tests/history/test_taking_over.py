"""One process at a time brings; when it dies another does, and when it is slow none."""

from pathlib import Path

import pytest

from tests.history.feeding import Feeding, feeding
from tidings.history import exporter
from tidings.history.exporter import STEADY
from tidings.storage.warm.duties import Duty


def test_what_a_dead_process_had_to_bring_is_brought_by_another_within_a_minute(
    tmp_path: Path,
) -> None:
    async def scenario(at: Feeding) -> None:
        await at.told_run("r1")
        await at.exporter.turn()
        await at.told_run("r2")  # and the first one is heard of no more
        other = at.an_exporter("w2")
        turns = 0
        while await at.counts() != {"completed": 2}:
            at.clock.time += STEADY.look_seconds
            turns += 1
            await other.turn()
        assert turns * STEADY.look_seconds <= 60

    feeding(tmp_path, scenario)


def test_a_slow_store_costs_nobody_the_duty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "EVENT_BYTES_PER_INSERT_MAX", 1)

    async def scenario(at: Feeding) -> None:
        other = Duty(at.past.database, at.clock, "history", "w2", STEADY.duty_seconds)
        taken: list[bool] = []

        async def slowly() -> None:
            at.clock.time += STEADY.duty_seconds - 1
            taken.append(await other.mine())

        for number in range(3):
            await at.told_run(f"r{number}")
        at.cold.lasts = slowly
        await at.exporter.turn()
        assert taken == [False] * 4  # three runs, and how they ended

    feeding(tmp_path, scenario)
