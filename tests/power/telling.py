"""When somebody was told something: as soon as its last byte was on its way to anybody."""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile

from tests.power.recording import Call, Sent, Wrote
from tests.power.story import MARKS, RESTORING, USERS, Person, Story

_RECEIPT = re.compile(rb'\{"type":"accepted","ref":"[^"]*","run_id":"(\w+)"[^}]*\}')
_FILE = re.compile(rb'"file_id":"(\w+)"')
_EVENT = re.compile(rb'"event_id":"(\w+)"')


@dataclass(slots=True)
class _Stream:
    """What left by a socket, and for each piece where it ends and the line at which it began."""

    data: bytearray = field(default_factory=bytearray)
    ends: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)

    def line(self, end: int) -> int:
        """Return the line at which what ends there was on its way."""
        return self.lines[bisect_left(self.ends, end)]


class Telling:
    """Knows what of a story had been told by a line of its recording."""

    def __init__(self, story: Story, recorded: Iterable[Call]) -> None:
        self._story = story
        self._marks: dict[str, int] = {}
        self._streams: defaultdict[str, _Stream] = defaultdict(_Stream)
        for call in recorded:
            match call.deed:
                case Sent(socket, data):
                    stream = self._streams[socket]
                    stream.data += data
                    stream.ends.append(len(stream.data))
                    stream.lines.append(call.began)
                case Wrote(path, data) if path.endswith(f"/{MARKS}"):
                    self._marks[data.decode()] = call.began
        self._runs, self._files = dict(self._first(_RECEIPT)), dict(self._first(_FILE))
        self._frames = self._lines_of_frames(f for p in story.persons for f in p.shown)

    @property
    def lines(self) -> list[int]:
        """Return the lines at which somebody was told something."""
        told = (self._marks, self._runs, self._files, self._frames)
        return sorted({line for lines in told for line in lines.values()})

    def by(self, line: int) -> Story:
        """Return what had been told when a line was written, and no restore has taken back."""
        marks = {mark for mark, told in self._marks.items() if told <= line}
        are_there = USERS in marks and RESTORING not in marks
        persons = [self._known(p, line) for p in self._story.persons] if are_there else []
        return Story(persons, self._story.deleted, marks)

    def _known(self, person: Person, line: int) -> Person:
        files = [f for f in person.files if self._files[f.encode()] <= line]
        receipts = [r for r in person.receipts if self._runs[r.run_id.encode()] <= line]
        shown = takewhile(lambda frame: self._frames[frame] <= line, person.shown)
        sent = [c for c in person.sent if {*c.payload.files} <= {*files}]
        return Person(person.id, person.token, files, sent[: len(receipts) + 1], receipts, [*shown])

    def _first(self, pattern: "re.Pattern[bytes]") -> Iterator[tuple[bytes, int]]:
        """Yield what a pattern names, with the first line at which all of it was on its way."""
        first: dict[bytes, int] = {}
        for stream in self._streams.values():
            for found in pattern.finditer(stream.data):
                line = stream.line(found.end())
                first[found[1]] = min(line, first.get(found[1], line))
        yield from first.items()

    def _lines_of_frames(self, frames: Iterable[bytes]) -> dict[bytes, int]:
        places = defaultdict[bytes, list[tuple[_Stream, int]]](list)
        for stream in self._streams.values():
            for found in _EVENT.finditer(stream.data):
                places[found[1]].append((stream, found.start()))
        return {frame: min(_lines(frame, places)) for frame in frames}


def _lines(frame: bytes, places: dict[bytes, list[tuple[_Stream, int]]]) -> Iterator[int]:
    """Yield the lines at which a whole frame was on its way; it must be one at least."""
    found = _EVENT.search(frame)
    assert found
    for stream, at in places[found[1]]:
        begin = at - found.start()
        if stream.data[begin : begin + len(frame)] == frame:
            yield stream.line(begin + len(frame))
