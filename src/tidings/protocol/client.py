"""The client's end: what arrived, what to apply, what to acknowledge, where to resume.

Pure: messages in, happenings out. This is the exactly-once part: a stream's events are applied in
the order of their offsets, each once, and the cursor moves with them.
"""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from tidings.domain.commands import Command, Receipt
from tidings.domain.cursors import FROM_HEAD, FROM_START, Cursor, cursor_of, parse_cursor
from tidings.domain.events import TERMINAL, Event, EventType, thread_stream
from tidings.domain.proof import Proof
from tidings.protocol import frames
from tidings.protocol.closing import Close

ACK_EVENTS = 64
ACK_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True)
class Apply:
    """The next event of its stream; the cursor has moved behind it."""

    event: Event
    raw: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """A command's answer: a receipt, or the server's error frame."""

    ref: str
    receipt: Receipt | None
    error: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Greeted:
    """The server knows us; `refused` are the streams that cannot go on from their cursor."""

    frame: dict[str, Any]
    refused: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Anew:
    """A stream cannot go on and is not followed any more: `why`, and where its state is."""

    stream: str
    why: str
    snapshot: str | None


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Close the connection with this code, and connect anew."""

    code: Close


@dataclass(frozen=True, slots=True)
class Draining:
    """The server stops: connect anew after a random time within this many milliseconds."""

    within_ms: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Reply:
    """Send this message to the server."""

    message: bytes


@dataclass(frozen=True, slots=True)
class Told:
    """Any other frame."""

    frame: dict[str, Any]


Happening = Apply | Answered | Greeted | Anew | Reconnect | Draining | Reply | Told


@dataclass(slots=True)
class Reading:
    """A stream as this client has it: how far, and the open runs that it has seen begin.

    Before the first event there is no cursor, but a `start`, and perhaps it is known after which
    offset that is. What was `offered` in a hello gets its answer in the greeting. While it is
    `asked`, what comes belongs to an older subscription. `received` is the last offset that came on
    this connection: no more than that may be acknowledged on it.
    """

    cursor: Cursor | None = None
    start: str = FROM_START
    after: int | None = None
    received: int = 0
    offered: bool = False
    asked: bool = False
    resubscribed: bool = False
    unacked_events: int = 0
    unacked_bytes: int = 0
    proofs: dict[str, Proof] = field(default_factory=dict)

    @property
    def position(self) -> str:
        """Where to resume."""
        if self.cursor is not None:
            return str(self.cursor)
        return self.start if self.after is None else str(self.after)

    @property
    def last(self) -> int | None:
        """The last offset that is here, if that is known."""
        return self.after if self.cursor is None else self.cursor.offset


@dataclass(slots=True)
class ClientCore:
    """One client's streams, and its commands that have no answer yet."""

    device: str
    streams: dict[str, Reading] = field(default_factory=dict)
    outbox: dict[str, Command] = field(default_factory=dict)
    duplicates: int = 0
    verified: int = 0
    mismatches: int = 0
    connected: bool = False

    def hello(self, token: str | None = None, ticket: str | None = None) -> bytes:
        """Return the first message of a connection: who we are and what we have."""
        self.connected = False
        for reading in self.streams.values():
            reading.offered = True
        hello = frames.Hello(
            token=token,
            ticket=ticket,
            device=self.device,
            subscribe=tuple(
                frames.Subscription(stream, reading.position)
                for stream, reading in self.streams.items()
            ),
        )
        return msgspec.json.encode(hello)

    def follow(self, stream: str, position: str = FROM_START) -> bytes:
        """Begin a stream at a position, a snapshot's cursor for one; return the message for it."""
        self.streams[stream] = begun = _reading(position)
        begun.asked = self.connected
        return msgspec.json.encode(frames.Subscribe(stream=stream, cursor=position))

    def leave(self, stream: str) -> bytes:
        """Stop following a stream; return the message for it."""
        self.streams.pop(stream, None)
        return msgspec.json.encode(frames.Unsubscribe(stream=stream))

    def command(self, command: Command) -> bytes:
        """Return the message that carries a command; it is repeated until it is answered."""
        self.outbox[command.id] = command
        return msgspec.json.encode(command)

    def unanswered(self) -> list[bytes]:
        """Return the commands to send again after a reconnect, in their order."""
        return [msgspec.json.encode(command) for command in self.outbox.values()]

    def receive(self, message: str | bytes) -> list[Happening]:
        """Take a message of the server. After a `Reconnect` the rest of it is left unread.

        A message that cannot be read is a gap about which nothing can be asked.
        """
        happenings: list[Happening] = []
        try:
            for raw in _split(message):
                happenings += self._receive_one(bytes(raw))
                if happenings and isinstance(happenings[-1], Reconnect):
                    break
        except msgspec.DecodeError:
            happenings.append(Reconnect(Close.GAP))
        return happenings

    def acknowledgement(self) -> bytes | None:
        """Return the acknowledgement of all that came and is applied, if there is any to give."""
        positions: dict[str, int] = {}
        for stream, reading in self.streams.items():
            if reading.unacked_events:
                positions[stream] = reading.received
                reading.unacked_events = reading.unacked_bytes = 0
        return msgspec.json.encode(frames.Ack(positions=positions)) if positions else None

    def _receive_one(self, raw: bytes) -> list[Happening]:
        frame: dict[str, Any] = msgspec.json.decode(raw)
        if "event_id" in frame:
            return self._event(raw)
        match frame.get("type"):
            case "connection_established":
                return self._greeted(frame)
            case "ping":
                return [Reply(msgspec.json.encode(frames.Pong(n=frame["n"])))]
            case "accepted":
                return [self._accepted(msgspec.convert(frame, Receipt))]
            case "error":
                return [self._refused(frame)]
            case "drain":
                low, high = frame["reconnect_within_ms"]
                return [Draining((low, high))]
            case _:
                return [self._of_stream(frame)]

    def _refused(self, frame: dict[str, Any]) -> Happening:
        """Take an error: the answer to a command, the end of a stream, or neither."""
        ref = frame.get("ref")
        if ref in self.outbox:
            del self.outbox[ref]
            return Answered(ref, None, frame)
        return self._lost(ref, frame["code"]) if ref in self.streams else Told(frame)

    def _of_stream(self, frame: dict[str, Any]) -> Happening:
        """Take what is said of a stream as a whole; any other frame is only told."""
        match frame.get("type"):
            case "reset":
                return self._lost(frame["stream"], frame["why"], frame.get("snapshot"))
            case "revoked":
                return self._lost(frame["stream"], "revoked")
            case "live":
                reading = self.streams.get(frame["stream"])
                if reading is not None and reading.last is None and not reading.asked:
                    reading.after = frame["offset"]
            case "subscribed":
                reading = self.streams.get(frame["stream"])
                if reading is not None and reading.asked and reading.position == frame["cursor"]:
                    reading.after, reading.asked = frame["from"] - 1, False
            case _:
                pass
        return Told(frame)

    def _greeted(self, frame: dict[str, Any]) -> list[Happening]:
        """Begin a connection: what came on the last one is not acknowledged on this one.

        What was followed or left since the hello is subscribed or unsubscribed now.
        """
        self.connected = True
        changes: list[bytes] = []
        for stream, reading in self.streams.items():
            reading.resubscribed = False
            reading.received = reading.unacked_events = reading.unacked_bytes = 0
            reading.asked = not reading.offered
            if not reading.offered:
                changes.append(self._subscribe(stream))
        refused: list[dict[str, Any]] = []
        for status in frame.get("streams", ()):
            begun = self.streams.get(status["stream"])
            if begun is None and status["ok"]:
                changes.append(self.leave(status["stream"]))
            elif begun is None or not begun.offered:
                continue  # what was offered is not wanted any more
            elif status["ok"]:
                begun.after = status["from"] - 1
            else:
                refused.append(status)
                del self.streams[status["stream"]]
        return [Greeted(frame, tuple(refused)), *map(Reply, changes)]

    def _lost(self, stream: str, why: str, snapshot: str | None = None) -> Anew:
        self.streams.pop(stream, None)
        return Anew(stream, why, snapshot)

    def _accepted(self, receipt: Receipt) -> Answered:
        """Take a receipt; from now on the command's thread is followed, over cuts as well."""
        self.outbox.pop(receipt.ref, None)
        after = receipt.offset - 1
        begun = Reading(start=str(after), after=after)
        self.streams.setdefault(thread_stream(receipt.thread_id), begun)
        return Answered(receipt.ref, receipt, None)

    def _event(self, raw: bytes) -> list[Happening]:
        event = msgspec.json.decode(raw, type=Event)
        reading = self.streams.get(event.stream)
        if reading is None or reading.asked:
            self.duplicates += 1  # left, or begun anew, while it was on its way
            return []
        last = reading.last
        if last is not None and event.offset <= last:
            self.duplicates += 1
            return self._received(reading, event, len(raw))
        if last is not None and event.first != last + 1:
            return self._gap(event.stream, reading)
        reading.cursor = cursor_of(event.epoch, event.offset, event.event_id)
        reading.resubscribed = False
        return [
            Apply(event, raw),
            *self._proven(event, reading),
            *self._received(reading, event, len(raw)),
        ]

    def _received(self, reading: Reading, event: Event, size: int) -> list[Happening]:
        """Take note that there is something to acknowledge; a repeat, too, fills the window."""
        reading.received = max(reading.received, event.offset)
        reading.unacked_events += 1
        reading.unacked_bytes += size
        if reading.unacked_events < ACK_EVENTS and reading.unacked_bytes < ACK_BYTES:
            return []
        acknowledgement = self.acknowledgement()
        return [Reply(acknowledgement)] if acknowledgement else []

    def _proven(self, event: Event, reading: Reading) -> list[Happening]:
        """Check at a run's end, if its beginning was seen, that all of it has been applied."""
        run_id = event.run_id or ""
        if event.type == EventType.MESSAGE_RECEIVED:
            reading.proofs[run_id] = Proof()
        got = reading.proofs.get(run_id)
        if got is None:
            return []
        if event.type not in TERMINAL:
            reading.proofs[run_id] = got.with_event(event.offset, event.event_id, event.type)
            return []
        del reading.proofs[run_id]
        if "proof" not in event.payload:
            return []
        expected = msgspec.convert(event.payload["proof"], Proof)
        if got == expected:
            self.verified += 1
            return []
        self.mismatches += 1
        report = frames.Mismatch(event.stream, run_id, expected, got)
        return [Reply(msgspec.json.encode(report))]

    def _gap(self, stream: str, reading: Reading) -> list[Happening]:
        """Ask once for what is missing; if that brings another gap, start the connection anew."""
        if reading.resubscribed:
            return [Reconnect(Close.GAP)]
        reading.resubscribed = True
        return [Reply(self._subscribe(stream))]

    def _subscribe(self, stream: str) -> bytes:
        again = frames.Subscribe(stream=stream, cursor=self.streams[stream].position)
        return msgspec.json.encode(again)


def _reading(position: str) -> Reading:
    if position in {FROM_START, FROM_HEAD}:
        return Reading(start=position)
    if position.isdecimal():
        return Reading(start=position, after=int(position))
    return Reading(parse_cursor(position), position)


def _split(message: str | bytes) -> list[msgspec.Raw]:
    if message[:1] in {"[", b"["}:
        return msgspec.json.decode(message, type=list[msgspec.Raw])
    return [msgspec.Raw(message)]
