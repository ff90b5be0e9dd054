"""Temporal as the scheduler, over a real server: brings what was sent, once, in a fair order."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest

from tests.harness.running import running
from tests.harness.temporal import TemporalAddress, TemporalServer
from tidings.domain.errors import Unavailable
from tidings.domain.tiers import TierState
from tidings.scheduling.frontend import Frontend
from tidings.scheduling.port import Errand, NotNow, Take, Urgency
from tidings.scheduling.temporal import TemporalScheduler
from tidings.system import SystemClock, UlidSource


@pytest.fixture
def mortal() -> Iterator[TemporalServer]:
    """A Temporal of the test's own, to be killed."""
    with running(TemporalServer) as server:
        yield server


def scheduler_of(frontend: Frontend) -> TemporalScheduler:
    return TemporalScheduler(frontend, UlidSource(SystemClock()).new("q"), SystemClock())


def scheduler_at(server: TemporalAddress) -> TemporalScheduler:
    return scheduler_of(Frontend(server.address, "default"))


def errand(run: str, user: str = "ana", urgency: Urgency = Urgency.FRESH) -> Errand:
    return Errand(run, 0, user, urgency, seconds=60.0)


class Taker:
    """Takes what is brought and remembers it."""

    def __init__(self, enough: int = 1, seconds: float = 0.0) -> None:
        self.taken: list[str] = []
        self.again: list[bool] = []
        self.has_something = asyncio.Event()
        self.done = asyncio.Event()
        self._enough = enough
        self._seconds = seconds

    async def take(self, brought: Errand) -> None:
        self.taken.append(brought.run_id)
        self.again.append(brought.again)
        self.has_something.set()
        await asyncio.sleep(self._seconds)
        if len(self.taken) == self._enough:
            self.done.set()


async def waiting(scheduler: TemporalScheduler, count: int) -> None:
    """Return when about so many are in the queue: what is sent goes there in its own time."""
    queue = DescribeTaskQueueRequest(
        namespace="default",
        task_queue=TaskQueue(name=scheduler._queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
        report_stats=True,
    )
    service = (await scheduler._connected()).workflow_service
    while True:
        if (await service.describe_task_queue(queue)).stats.approximate_backlog_count >= count:
            return
        await asyncio.sleep(0.05)


async def brought(
    scheduler: TemporalScheduler, take: Take, until: Callable[[], Awaitable[object]], slots: int = 1
) -> None:
    """Have things brought to `take` until something has come about."""
    async with asyncio.TaskGroup() as tasks:
        bringing = tasks.create_task(scheduler.bring(slots, take))
        await until()
        bringing.cancel()


def test_what_is_sent_is_brought_once_however_often_it_is_sent(temporal: TemporalAddress) -> None:
    async def scenario() -> list[str]:
        scheduler, taker = scheduler_at(temporal), Taker(enough=2)
        for run in ("r1", "r1", "r1", "r2"):
            await scheduler.send(errand(run))
        await brought(scheduler, taker.take, taker.done.wait)
        return taker.taken

    assert sorted(asyncio.run(scenario())) == ["r1", "r2"]  # it promises no order between equals


def test_what_cannot_be_taken_now_is_brought_again(temporal: TemporalAddress) -> None:
    async def scenario() -> list[bool]:
        scheduler, taker = scheduler_at(temporal), Taker(enough=2)

        async def reluctant(brought: Errand) -> None:
            await taker.take(brought)
            if not brought.again:
                raise NotNow(0.1)

        await scheduler.send(errand("r1"))
        await brought(scheduler, reluctant, taker.done.wait)
        return taker.again

    assert asyncio.run(scenario()) == [False, True]


def test_what_a_stopping_process_has_is_brought_to_another(temporal: TemporalAddress) -> None:
    async def scenario() -> list[bool]:
        scheduler, first, second = scheduler_at(temporal), Taker(seconds=60), Taker()

        await scheduler.send(errand("r1"))
        await brought(scheduler, first.take, first.has_something.wait)
        await brought(scheduler, second.take, second.done.wait)
        return second.again

    assert asyncio.run(scenario()) == [True]


def test_users_take_turns_what_was_begun_goes_first_and_the_background_last(
    temporal: TemporalAddress,
) -> None:
    async def scenario() -> list[str]:
        scheduler, taker = scheduler_at(temporal), Taker(enough=17)
        await scheduler.send(errand("background", "dan", Urgency.BACKGROUND))
        for user, runs in (("ana", 12), ("bob", 3)):
            async with asyncio.TaskGroup() as tasks:
                for number in range(runs):
                    tasks.create_task(scheduler.send(errand(f"{user}{number}", user)))
        await scheduler.send(errand("begun", "cleo", Urgency.BEGUN))
        await waiting(scheduler, 14)  # its count is approximate
        await brought(scheduler, taker.take, taker.done.wait)
        return taker.taken

    order = asyncio.run(scenario())  # what it has not read yet, when it is asked, it cannot weigh
    assert order.index("begun") < 8 < order.index("background")
    places = [place for place, run in enumerate(order) if run.startswith("bob")]
    assert max(places) < 12  # without turns they would be the last of all


def test_while_it_is_away_sending_says_so_and_then_everything_goes_on(
    mortal: TemporalServer,
) -> None:
    async def scenario() -> list[str]:
        scheduler, taker = scheduler_at(mortal), Taker(enough=2)
        await scheduler.send(errand("before"))
        mortal.kill()
        with pytest.raises(Unavailable) as refused:
            await scheduler.send(errand("meanwhile"))
        assert refused.value.code == "scheduler_unavailable"
        assert (await scheduler.health()).state is TierState.DEGRADED

        async def both() -> None:
            mortal.start()
            while True:
                with suppress(Unavailable):
                    await scheduler.send(errand("after"))
                    break
            await taker.done.wait()

        await brought(scheduler, taker.take, both)
        assert (await scheduler.health()).state is TierState.OK
        return sorted(taker.taken)

    assert asyncio.run(scenario()) == ["after", "before"]


def open_files_and_threads() -> int:
    return sum(len(list(Path("/proc/self", kind).iterdir())) for kind in ("fd", "task"))


def test_while_it_is_away_every_further_try_keeps_nothing_open() -> None:
    async def scenario() -> list[int]:
        nowhere = scheduler_of(Frontend("127.0.0.1:9", "default"))
        counts = []
        for _ in range(8):
            assert (await nowhere.health()).state is TierState.DEGRADED
            counts.append(open_files_and_threads())
        return counts

    first, *later = asyncio.run(scenario())
    assert later[-1] - first < len(later)  # not one a try; what else the process has may change


def test_one_that_nobody_listens_for_is_a_refusal_and_not_a_wait() -> None:
    async def scenario() -> None:
        nowhere = scheduler_of(Frontend("127.0.0.1:9", "default"))
        with pytest.raises(Unavailable):
            await nowhere.send(errand("r1"))
        assert (await nowhere.health()).state is TierState.DEGRADED

    asyncio.run(scenario())
