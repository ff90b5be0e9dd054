"""`make soak`: critical events through cuts, stalls and kills; nothing lost, doubled or moved.

EVENTS and SEED choose how many and which accidents. Every wave of users is checked against the
store when it has ended, and the whole store when all have.
"""

import asyncio
import os
import random
import tempfile
import time
from collections import Counter
from itertools import count
from pathlib import Path

from tests.harness.server import ROOT, ServerProcess
from tests.soak.wave import DEVICES, Wave
from tests.stores import rows_of
from tidings.domain.events import CRITICAL

PROGRAM = ROOT / "tests/harness/programs/thinking.py"
KILL_SECONDS = (4.0, 8.0)
CUT_SECONDS = (0.02, 0.12)
STALL_EVERY_SECONDS, STALL_SECONDS = (0.3, 1.0), (0.5, 3.0)
SHOW_SECONDS = 5.0
SETTINGS = {"TIDINGS_RUNS": "32", "TIDINGS_LOG_LEVEL": "error"}


class Soak:
    """The server, the wave that is on, the accidents that befall them, and what was counted."""

    def __init__(self, server: ServerProcess, seed: int) -> None:
        self._server = server
        self._rng = random.Random(seed)
        self._counts: Counter[str] = Counter()
        self._begun = time.monotonic()
        self._wave: Wave | None = None
        self._up = asyncio.Event()
        self._up.set()

    @property
    def critical(self) -> int:
        """How many critical events every device of their user has applied."""
        return self._counts["critical events"]

    async def run(self, events: int) -> None:
        """Let waves follow each other until so many critical events were applied everywhere."""
        async with asyncio.TaskGroup() as tasks:
            plagues = (self._kill(), self._cut(), self._stall(), self._show())
            running = [tasks.create_task(plague) for plague in plagues]
            for number in count():
                await self._up.wait()
                wave = self._wave = Wave(self._server, number, self._rng)
                await wave.run()
                self._counts["critical events"] += wave.critical // DEVICES
                self._counts["applied by devices"] += wave.applied
                self._counts["dropped as known"] += wave.duplicates
                self._counts["waves"] += 1
                if self.critical >= events:
                    break
            for task in running:
                task.cancel()

    async def _kill(self) -> None:
        """Kill -9, and start again on the same data."""
        while True:
            await asyncio.sleep(self._rng.uniform(*KILL_SECONDS))
            while self._wave is None or not self._wave.underway:  # noqa: ASYNC110 - cheap
                await asyncio.sleep(0.05)
            self._up.clear()
            self._server.kill()
            self._counts["kills"] += 1
            await asyncio.to_thread(self._server.start)
            self._up.set()

    async def _cut(self) -> None:
        while True:
            await asyncio.sleep(self._rng.uniform(*CUT_SECONDS))
            if self._wave is not None and self._wave.participants:
                self._counts["cuts"] += self._rng.choice(self._wave.participants).cut()

    async def _stall(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                await asyncio.sleep(self._rng.uniform(*STALL_EVERY_SECONDS))
                if self._wave is not None and self._wave.participants:
                    stalled = self._rng.choice(self._wave.participants)
                    tasks.create_task(stalled.stall(self._rng.uniform(*STALL_SECONDS)))
                    self._counts["stalls"] += 1

    async def _show(self) -> None:
        while True:
            await asyncio.sleep(SHOW_SECONDS)
            self.say()

    def say(self) -> None:
        """Print how far it is."""
        now = self._wave.critical // DEVICES if self._wave is not None else 0
        took = time.monotonic() - self._begun
        shown = " · ".join(f"{what} {number:,}" for what, number in self._counts.items())
        print(f"{took:5.0f} s · {shown} · this wave {now:,}", flush=True)


def check_whole(data_dir: Path) -> int:
    """Check that no stream has a hole, over all waves; return the critical events in the store."""
    marks = ", ".join("?" * len(CRITICAL))
    broken = rows_of(
        data_dir,
        "select stream, head from streams s where head <> (select count(*) from events e"
        ' where e.stream = s.stream and e."offset" between 1 and s.head)',
    )
    assert not broken, broken
    ((critical,),) = rows_of(
        data_dir, f"select count(*) from events where type in ({marks})", *map(str, CRITICAL)
    )
    return int(critical)


def main(events: int, seed: int) -> None:
    print(f"EVENTS={events} SEED={seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="tidings-soak-") as folder:
        server = ServerProcess(Path(folder), PROGRAM)
        server.extra = SETTINGS
        server.start()
        soak = Soak(server, seed)
        try:
            asyncio.run(soak.run(events))
        finally:
            if server.is_running():
                server.stop()
        soak.say()
        critical = check_whole(Path(folder))
        assert critical == soak.critical, "the devices have not seen what is in the store"
        print(f"{critical:,} critical events: lost 0, duplicated 0, reordered 0", flush=True)


if __name__ == "__main__":
    main(int(os.environ["EVENTS"]), int(os.environ["SEED"]))
