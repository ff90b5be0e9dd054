"""A recording as a whole: what was done to a folder, what was told when, the disk in between."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from tests.power.disk import Disk, Naming, Node
from tests.power.recording import UNSEEN, Sent, calls
from tests.power.story import DATA, STORY, Story
from tests.power.telling import Telling
from tidings.storage.backups import KEY_FILE


class Recorded:
    """What was done to a folder, and what of that anybody was told."""

    def __init__(self, folder: Path, trace: Path) -> None:
        self.root = str(folder)
        with trace.open() as lines:
            self.calls = list(calls(lines, self.root))
        story = msgspec.json.decode((folder / STORY).read_bytes(), type=Story)
        self.telling = Telling(story, self.calls)
        self.key = (folder / DATA / KEY_FILE).read_bytes()
        self._check(folder)

    def moments(self, rng: random.Random, cuts: int) -> list[int]:
        """Choose lines: as something is told, as a name has changed, as anything was done."""
        done = [call for call in self.calls if not isinstance(call.deed, Sent)]
        ends = [call.ended for call in done]
        names = [call.ended for call in done if isinstance(call.deed, Naming)]
        kinds = (self.telling.lines, names, ends)
        return sorted({rng.choice(rng.choice(kinds)) for _ in range(cuts)})

    def disks(self, moments: Sequence[int], deaf: tuple[type[Node], ...] = ()) -> Iterator[Disk]:
        """Yield the disk as it is at each moment."""
        disk, coming = Disk(self.root, deaf), iter(moments)
        moment = next(coming, None)
        for call in self.calls:
            while moment is not None and call.ended > moment:
                yield disk
                moment = next(coming, None)
            disk.do(call.deed, call.began, call.ended)
        while moment is not None:
            yield disk
            moment = next(coming, None)

    def _check(self, folder: Path) -> None:
        """Check that the recording has all: what it comes to is what is there."""
        (last,) = self.disks([self.calls[-1].ended])
        there = {
            str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
            for path in folder.rglob("*")
        }
        made = last.content()
        unlike = {p for p in there.keys() | made.keys() if there.get(p, b"") != made.get(p, b"")}
        assert all(path.endswith(UNSEEN) for path in unlike), f"not recorded: {unlike}"
