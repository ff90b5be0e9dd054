"""The promise, checked: what clients applied against what the store holds. Pure.

`check(log, histories)` raises one AssertionError that lists everything that is wrong. It is meant
to be the last line of every scenario, whatever was done to the server, the network or the disk.
"""

import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tidings.domain.events import TERMINAL

PROVEN = frozenset({"agent_started", "agent_thinking", "tool_executing", "tool_completed"})
"""The critical events whose count and digest a terminal event carries."""
REPORTED_MAX = 30
TAIL = 8


class Wire(msgspec.Struct, frozen=True):
    """As much of an event's frame as the checks need; a range has `first_offset`."""

    type: str
    event_id: str
    stream: str
    epoch: str
    offset: int
    first_offset: int | None = None
    run_id: str | None = None
    agent: str | None = None
    payload: dict[str, Any] = {}

    @property
    def first(self) -> int:
        return self.offset if self.first_offset is None else self.first_offset

    @property
    def cursor(self) -> str:
        return f"{self.epoch}.{self.offset}.{self.event_id[-TAIL:]}"


_wire = msgspec.json.Decoder(Wire)


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """A row of the store. `committed` is when it became durable, on the histories' clock."""

    frame: bytes
    committed: float | None = None


@dataclass(frozen=True, slots=True)
class LoggedStreams:
    """What the store holds at the end of a scenario.

    `owners` and `firsts` are by stream: whose it is, and the first offset that is still kept.
    `lost` are the frames that a rewind of the store (a restore, a salvage) took away.
    """

    events: list[LoggedEvent]
    owners: dict[str, str]
    firsts: dict[str, int] = field(default_factory=dict)
    lost: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class AppliedEvent:
    """What a client applied: the frame's bytes, its cursor after it, when (on any clock)."""

    frame: bytes
    cursor: str | None
    at: float | None


@dataclass(slots=True)
class Stretch:
    """What a client applied of one stream from one beginning: the start, a snapshot, a reset."""

    stream: str
    after: int
    applied: list[AppliedEvent] = field(default_factory=list)


class History:
    """What one device of one user was shown, in its order. Feed it; `check` reads it."""

    def __init__(self, user_id: str, device: str) -> None:
        self.user_id = user_id
        self.device = device
        self.stretches: list[Stretch] = []
        self.following: dict[str, Stretch] = {}

    def began(self, stream: str, after: int = 0) -> None:
        """Take note that the client's state of a stream is now that of offset `after`.

        To be told after a snapshot, a page's reload, a reset; a stream that nothing was told of
        begins at 0.
        """
        self.following[stream] = Stretch(stream, after)
        self.stretches.append(self.following[stream])

    def left(self, stream: str) -> None:
        """Take note that the client does not follow a stream any more."""
        self.following.pop(stream, None)

    def applied(
        self, stream: str, frame: bytes, cursor: str | None = None, at: float | None = None
    ) -> None:
        """Take note that the client applied an event, as the bytes it came in."""
        if stream not in self.following:
            self.began(stream)
        self.following[stream].applied.append(AppliedEvent(frame, cursor, at))

    def events(self, stream: str) -> list[dict[str, Any]]:
        """Return what was applied of a stream, over all its beginnings."""
        chosen = [s for s in self.stretches if s.stream == stream]
        return [msgspec.json.decode(a.frame) for s in chosen for a in s.applied]


def check(
    log: LoggedStreams,
    histories: Iterable[History],
    *,
    at_head: bool = False,
    ended: bool = False,
    proven: bool = False,
) -> None:
    """Check every promise of delivery.

    `at_head`: every device has applied all there is of what it follows. `ended`: every run has
    ended. `proven`: every terminal event must carry its proof; one that is there must be right.
    """
    shelf = Shelf(log)
    wrong = list(shelf.check(ended=ended, proven=proven))
    for history in histories:
        for stretch in history.stretches:
            who = f"{history.user_id}/{history.device} {stretch.stream}"
            owner = log.owners.get(stretch.stream)
            if owner != history.user_id:
                wrong.append(f"{who}: shown a stream of {owner}")
            wrong += [f"{who}: {what}" for what in _stretch(shelf, stretch)]
        if at_head:
            wrong += _not_at_head(shelf, history)
    if wrong:
        shown = "\n  ".join(wrong[:REPORTED_MAX])
        raise AssertionError(f"{len(wrong)} broken promises:\n  {shown}")


class Shelf:
    """The store's events by stream and offset, and what they must be among themselves."""

    def __init__(self, log: LoggedStreams) -> None:
        self.log = log
        self.heads = defaultdict(int, {stream: first - 1 for stream, first in log.firsts.items()})
        self.lost = {_wire.decode(frame).event_id for frame in log.lost}
        self._at: dict[tuple[str, int], tuple[LoggedEvent, Wire]] = {}
        self._rows: defaultdict[str, list[Wire]] = defaultdict(list)
        for row in log.events:
            event = _wire.decode(row.frame)
            self._rows[event.stream].append(event)
            self.heads[event.stream] = max(self.heads[event.stream], event.offset)
            for offset in range(event.first, event.offset + 1):
                self._at[event.stream, offset] = (row, event)
        for rows in self._rows.values():
            rows.sort(key=lambda event: event.offset)

    def at(self, stream: str, offset: int) -> tuple[LoggedEvent, Wire] | None:
        return self._at.get((stream, offset))

    def has_lost(self, event: Wire) -> bool:
        """Tell whether an event, or the last of a range, was there and is not any more."""
        found = self.at(event.stream, event.offset)
        return event.event_id in self.lost and (
            found is None or found[1].event_id != event.event_id
        )

    def check(self, *, ended: bool, proven: bool) -> Iterator[str]:
        """Yield what is wrong with the store by itself."""
        ids: dict[str, str] = {}
        for stream, rows in self._rows.items():
            expected = self.log.firsts.get(stream, 1)
            for event in rows:
                place = f"store {stream} {event.offset}"
                if event.first > expected:
                    yield f"{place}: a hole, {expected}..{event.first - 1} are not there"
                elif event.first < expected and event is not rows[0]:
                    yield f"{place}: {event.first} is there twice"
                expected = event.offset + 1
                if event.event_id in ids:
                    yield f"{place}: has the id of {ids[event.event_id]}"
                ids[event.event_id] = place
            yield from self._check_runs(stream, rows, ended=ended, proven=proven)

    def _check_runs(
        self, stream: str, rows: list[Wire], *, ended: bool, proven: bool
    ) -> Iterator[str]:
        runs: defaultdict[str, list[Wire]] = defaultdict(list)
        for event in rows:
            if event.run_id is not None and stream.startswith("thread:"):
                runs[event.run_id].append(event)
        for run_id, events in runs.items():
            terminal = [e for e in events if e.type in TERMINAL]
            if len(terminal) > 1:
                yield f"store {stream} {run_id}: {len(terminal)} terminal events"
            if ended and not terminal:
                yield f"store {stream} {run_id}: no terminal event"
            if terminal and events[-1].type not in TERMINAL:
                yield f"store {stream} {run_id}: goes on after its end"
            if terminal and events[0].type == "message_received":
                yield from _proof(events, terminal[0], proven=proven)


def proof_of(events: Iterable[Wire]) -> dict[str, Any]:
    """Return the count and the digest of the critical events among these."""
    count, digest = 0, 0
    for event in events:
        if event.type in PROVEN:
            count += 1
            line = f"{event.offset} {event.event_id} {event.type}\n"
            digest = zlib.crc32(line.encode(), digest)
    return {"count": count, "digest": f"{digest:08x}"}


def _proof(events: list[Wire], terminal: Wire, *, proven: bool) -> Iterator[str]:
    told = terminal.payload.get("proof")
    if told is None and not proven:
        return
    right = proof_of(e for e in events if e.offset < terminal.offset)
    if told != right:
        yield f"store {terminal.stream} {terminal.run_id}: proof {told}, must be {right}"


def _stretch(shelf: Shelf, stretch: Stretch) -> Iterator[str]:
    """Yield what is wrong with what a client applied from one beginning."""
    last, astray, over = stretch.after, False, set[str | None]()
    for applied in stretch.applied:
        event = _wire.decode(applied.frame)
        where = f"{event.first}..{event.offset}" if event.first < event.offset else event.offset
        if event.stream != stretch.stream:
            yield f"{where}: an event of {event.stream}"
            continue
        yield from (f"{where}: {what}" for what in _in_turn(event, last, over))
        if applied.cursor not in {None, event.cursor}:
            yield f"{where}: the cursor is {applied.cursor}, must be {event.cursor}"
        last = max(last, event.offset)
        if shelf.has_lost(event):
            astray = True
            continue
        if astray:
            yield f"{where}: applied after events that the store has lost; nobody told the client"
        yield from (f"{where}: {what}" for what in _against_store(shelf, applied, event))


def _in_turn(event: Wire, last: int, over: set[str | None]) -> Iterator[str]:
    """Yield what is wrong with an event coming after `last`; `over` gathers the ended runs."""
    if event.first <= last:
        yield f"applied after {last}: twice, or out of order"
    elif event.first > last + 1:
        yield f"applied after {last}: {last + 1}..{event.first - 1} are missing"
    if event.stream.startswith("thread:") and event.run_id is not None:
        if event.run_id in over:
            yield f"{event.type} of {event.run_id}, which has ended"
        if event.type in TERMINAL:
            over.add(event.run_id)


def _against_store(shelf: Shelf, applied: AppliedEvent, event: Wire) -> Iterator[str]:
    kept_from = shelf.log.firsts.get(event.stream, 1)
    for offset in range(max(event.first, kept_from), event.offset + 1):
        found = shelf.at(event.stream, offset)
        if found is None:
            yield f"{offset} is not in the store: a phantom"
            continue
        row, stored = found
        if None not in (applied.at, row.committed) and applied.at < row.committed:  # type: ignore[operator]
            yield f"applied at {applied.at}, before its commit at {row.committed}"
        if event.first_offset is None and stored.first_offset is None:
            if applied.frame != row.frame:
                yield f"differs from the store's {row.frame[:200]!r}"
        elif _piece(event, offset) != _piece(stored, offset):
            yield f"{offset} differs from the store's {stored.first}..{stored.offset}"


def _piece(event: Wire, offset: int) -> tuple[Any, ...]:
    """Return what an event says for one of the offsets it stands for, merged or not."""
    text = str(event.payload.get("text", ""))
    lengths = event.payload.get("lengths", [len(text)])
    if len(lengths) != event.offset - event.first + 1 or sum(lengths) != len(text):
        return ("lengths that do not add up", event.event_id)
    start = sum(lengths[: offset - event.first])
    end = start + lengths[offset - event.first]
    about = (event.type, event.run_id, event.agent, event.payload.get("message_id"))
    return (*about, text[start:end])


def _not_at_head(shelf: Shelf, history: History) -> Iterator[str]:
    for stream, stretch in history.following.items():
        last = _wire.decode(stretch.applied[-1].frame).offset if stretch.applied else stretch.after
        if last != shelf.heads[stream]:
            who = f"{history.user_id}/{history.device} {stream}"
            yield f"{who}: stands at {last}, the store at {shelf.heads[stream]}"
