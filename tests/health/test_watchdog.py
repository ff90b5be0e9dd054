"""A loop that stands still is noticed while it does, with the line that holds it."""

import asyncio
import logging
import threading
import time

import pytest

from tidings.health.metrics import Metrics
from tidings.health.watchdog import BLOCKED_SECONDS, LoopWatch
from tidings.system import SystemClock

BLOCK_SECONDS = BLOCKED_SECONDS + 1.0


def block() -> None:
    time.sleep(BLOCK_SECONDS)


def test_a_blocked_loop_is_told_with_its_line_while_it_is_blocked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    metrics = Metrics()

    async def scenario() -> LoopWatch:
        watch = LoopWatch(SystemClock(), metrics)
        watching = asyncio.create_task(watch.run())
        await asyncio.sleep(0.2)
        block()
        blocked = list(caplog.records)  # before the loop has had a turn
        watching.cancel()
        [said] = [record for record in blocked if record.levelno == logging.ERROR]
        line = block.__code__.co_firstlineno + 1
        assert f"{__file__}:{line} block < " in said.getMessage()
        assert watch.last_block == f"{__file__}:{line} block"
        return watch

    watch = asyncio.run(scenario())
    assert watch.blocks == 1
    assert b"tidings_loop_blocks_total 1.0" in metrics.render()


def test_how_late_the_loop_is_is_measured(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        watch = LoopWatch(SystemClock(), Metrics())
        watching = asyncio.create_task(watch.run())
        await asyncio.sleep(0.2)
        time.sleep(0.3)  # noqa: ASYNC251 - a loop that is late is what is measured
        await asyncio.sleep(0.3)
        watching.cancel()
        assert watch.lag_seconds_max >= 0.2
        assert watch.lag_seconds <= watch.lag_seconds_max
        assert watch.blocks == 0

    asyncio.run(scenario())
    assert not [record for record in caplog.records if record.levelno == logging.ERROR]


def test_it_ends_its_thread_with_itself() -> None:
    async def scenario() -> None:
        watch = LoopWatch(SystemClock(), Metrics())
        watching = asyncio.create_task(watch.run())
        await asyncio.sleep(0)
        [thread] = threads()
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching
        thread.join(timeout=10)
        assert not thread.is_alive()

    for thread in threads():
        thread.join(timeout=10)
    asyncio.run(scenario())


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "loop-watch"]
