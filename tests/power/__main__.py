"""`make power-loss`: the power is cut at many moments of a recording; nothing told is missing.

CUTS and SEED choose how many moments, and what is left of all that was not synced. At each, what
is left is opened as by a start; from some, a server goes on. At last the disk does not heed syncs,
of files or of folders: that must be noticed, else nothing has been shown.
"""

import logging
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import duckdb

from tests.harness.server import ENVIRONMENT, ROOT
from tests.power.aftermath import go_on, look
from tests.power.disk import Disk, File, Folder, Node
from tests.power.recorded import Recorded
from tests.power.recording import STRACE
from tests.power.story import Story
from tidings.domain.errors import TidingsError

RECORDING_SECONDS = 300
GOING_ON = 0.1
"""From this share of the cuts a server goes on."""
DEAF_CUTS = 40
SHOW_SECONDS = 5.0
FAULTS = (AssertionError, TidingsError, OSError, sqlite3.Error, duckdb.Error, ExceptionGroup)

Check = Callable[[Path, Story, bytes], None]


class Cuts:
    """Cuts the power at moments of a recording, each in a folder that is kept if it fails."""

    def __init__(self, recorded: Recorded, place: Path, seed: int) -> None:
        self._recorded = recorded
        self._place = place
        self._seed = seed

    def all_hold(self, what: str, moments: Sequence[int], check: Check) -> None:
        """Check every moment.

        Raises:
            SystemExit: one does not hold; it says which, and where that is to be seen.
        """
        begun = shown = time.monotonic()
        for number, (moment, disk) in enumerate(self._disks(moments), 1):
            try:
                self._cut(moment, disk, check)
            except FAULTS as fault:
                sys.exit(f"cut at line {moment}, left in {self._place}: {fault!r}")
            if time.monotonic() - shown > SHOW_SECONDS or number == len(moments):
                shown = time.monotonic()
                print(f"{shown - begun:5.0f} s · {what} {number}/{len(moments)}", flush=True)

    def failing(self, moments: Sequence[int], deaf: tuple[type[Node], ...]) -> int:
        """Return at how many moments a disk that does not heed syncs lacks what was told."""
        failed = 0
        for moment, disk in self._disks(moments, deaf):
            try:
                self._cut(moment, disk, look)
            except FAULTS:
                failed += 1
        return failed

    def _disks(
        self, moments: Sequence[int], deaf: tuple[type[Node], ...] = ()
    ) -> Iterator[tuple[int, Disk]]:
        yield from zip(moments, self._recorded.disks(moments, deaf), strict=True)

    def _cut(self, moment: int, disk: Disk, check: Check) -> None:
        shutil.rmtree(self._place, ignore_errors=True)
        self._place.mkdir()
        for path, content in disk.left(random.Random(f"{self._seed} {moment}")).items():
            if content is None:
                (self._place / path).mkdir()
                continue
            (self._place / path).write_bytes(content)
            (self._place / path).chmod(0o600)  # all are whose server it is
        check(self._place, self._recorded.telling.by(moment), self._recorded.key)


def record(folder: Path) -> Recorded:
    """Let the story happen, and return what was recorded of it."""
    trace = folder / "trace"
    played = folder / "played"
    played.mkdir()
    command = [*STRACE, "-o", str(trace), sys.executable, "-m", "tests.power.story", str(played)]
    subprocess.run(command, check=True, timeout=RECORDING_SECONDS, cwd=ROOT, env=ENVIRONMENT)
    print(f"recorded: {trace.stat().st_size >> 20} MiB", flush=True)
    return Recorded(played, trace)


def check_tracing() -> None:
    """See that a process can be recorded here.

    Raises:
        SystemExit: it cannot; it says why.
    """
    if shutil.which("strace") is None:
        sys.exit("strace is missing: install it; it records what a server writes")
    tried = subprocess.run(["strace", "-f", "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        sys.exit(f"strace may not trace here: {tried.stderr.strip().splitlines()[-1]}")


def main(cuts: int, seed: int) -> None:
    print(f"CUTS={cuts} SEED={seed}", flush=True)
    check_tracing()
    logging.disable()  # what the stores of cuts say is checked, not read
    folder = Path(tempfile.mkdtemp(prefix="tidings-power-"))
    recorded = record(folder)
    rng = random.Random(seed)
    moments = recorded.moments(rng, cuts)
    cut = Cuts(recorded, folder / "left", seed)
    cut.all_hold("looked at", moments, look)
    some = sorted(rng.sample(moments, max(1, round(len(moments) * GOING_ON))))
    cut.all_hold("gone on from", some, go_on)
    few = sorted(rng.sample(moments, min(DEAF_CUTS, len(moments))))
    for name, deaf in (("files", File), ("folders", Folder)):
        failing = cut.failing(few, (deaf,))
        print(f"a disk that heeds no sync of {name} fails at {failing} of {len(few)}", flush=True)
        assert failing, "nothing was noticed: nothing has been shown"
    shutil.rmtree(folder)
    print(f"{len(moments)} cuts of the power: all that was told is there", flush=True)


if __name__ == "__main__":
    main(int(os.environ["CUTS"]), int(os.environ["SEED"]))
