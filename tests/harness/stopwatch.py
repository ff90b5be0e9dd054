"""Seconds on a machine that others use, too."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

TICK_SECONDS = 0.02


class Stopwatch:
    """Counts the seconds in which this loop went on and the disk took writes.

    What stands still for a second, because others have the processor or the disk, is one tick. So
    a bound tells what the product does with the time, and not how much of it a machine gives.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self.seconds = 0.0

    async def tick(self) -> None:
        """Go on for ever."""
        with self._scratch.open("wb") as file:
            while True:
                await asyncio.sleep(TICK_SECONDS)
                file.write(b"tick")
                file.flush()
                await asyncio.to_thread(os.fsync, file.fileno())
                self.seconds += TICK_SECONDS


@asynccontextmanager
async def stopwatch(folder: Path) -> AsyncIterator[Stopwatch]:
    """Time what is done inside; the folder is on the disk that is waited for."""
    watch = Stopwatch(folder / "stopwatch")
    async with asyncio.TaskGroup() as tasks:
        ticking = tasks.create_task(watch.tick())
        yield watch
        ticking.cancel()
        with suppress(asyncio.CancelledError):
            await ticking
