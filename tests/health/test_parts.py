"""Parts that crash are begun again, the others do not notice, and there is an end to it."""

import asyncio
from pathlib import Path

import pytest

from tests.fakes.ports import ManualClock
from tidings.app import build
from tidings.health.metrics import Metrics
from tidings.health.overview import PartHealth
from tidings.health.parts import RESTARTS_MAX, Parts
from tidings.settings import load


class Shaky:
    """A part that crashes so often, then runs."""

    def __init__(self, crashes: int) -> None:
        self.left = crashes
        self.begun = 0
        self.well = asyncio.Event()

    async def run(self) -> None:
        self.begun += 1
        if self.left:
            self.left -= 1
            raise ZeroDivisionError
        self.well.set()
        await asyncio.Event().wait()


def test_a_crashed_part_is_begun_again_and_the_others_go_on() -> None:
    async def scenario() -> None:
        clock, metrics = ManualClock(), Metrics()
        shaky, steady = Shaky(RESTARTS_MAX), Shaky(0)
        parts = Parts({"shaky": shaky.run, "steady": steady.run}, clock, metrics)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(parts.run())
            await shaky.well.wait()
            clock.time += 3.0
            assert parts.health() == (
                PartHealth("shaky", RESTARTS_MAX, 3.0),
                PartHealth("steady", 0, None),
            )
            running.cancel()
        assert (shaky.begun, steady.begun) == (RESTARTS_MAX + 1, 1)
        assert 'tidings_part_restarts_total{part="shaky"} 5.0' in metrics.render().decode()

    asyncio.run(scenario())


def test_a_part_that_crashes_too_often_ends_everything() -> None:
    async def scenario() -> None:
        shaky, steady = Shaky(RESTARTS_MAX + 1), Shaky(0)
        parts = Parts({"shaky": shaky.run, "steady": steady.run}, ManualClock(), Metrics())
        with pytest.raises(ExceptionGroup) as ended:
            await parts.run()
        assert isinstance(ended.value.exceptions[0], ZeroDivisionError)
        assert shaky.begun == RESTARTS_MAX + 1

    asyncio.run(scenario())


def test_crashes_long_ago_do_not_count() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        shaky = Shaky(2 * RESTARTS_MAX)

        async def ages() -> None:
            clock.time += 20.0
            await shaky.run()

        parts = Parts({"shaky": ages}, clock, Metrics())
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(parts.run())
            await shaky.well.wait()
            running.cancel()

    asyncio.run(scenario())


def test_the_application_keeps_its_parts_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        app = build(load({"data_dir": tmp_path}, {}))
        await app.begin()
        async with app.running():
            found = {part.name for part in (await app.services.health.now()).sections.parts}
            names = {task.get_name() for task in asyncio.all_tasks()}
        assert {"worker", "feed", "presence", "upkeep", "loop", "lookout"} <= names & found
        await app.close()

    asyncio.run(scenario())
