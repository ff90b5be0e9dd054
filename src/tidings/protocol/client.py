"""The client's end: what arrived, what to apply, what to acknowledge, where to resume.

Pure: messages in, happenings out. This is the exactly-once part: a stream's events are applied in
the order of their offsets, each once, and the cursor moves with them.
"""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from tidings.domain.commands import Command, Receipt
from tidings.domain.cursors import Cursor, cursor_of
from tidings.domain.events import Event
from tidings.protocol import frames

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
class Reply:
    """Send this message to the server."""

    message: bytes


@dataclass(frozen=True, slots=True)
class Told:
    """Any other frame."""

    frame: dict[str, Any]


Happening = Apply | Answered | Greeted | Reply | Told


@dataclass(slots=True)
class Reading:
    """A stream as this client has it."""

    cursor: Cursor | None = None
    resubscribed: bool = False
    unacked_events: int = 0
    unacked_bytes: int = 0


@dataclass(slots=True)
class ClientCore:
    """One client's streams, and its commands that have no answer yet."""

    device: str
    streams: dict[str, Reading] = field(default_factory=dict)
    outbox: dict[str, Command] = field(default_factory=dict)
    duplicates: int = 0

    def hello(self, token: str | None = None, ticket: str | None = None) -> bytes:
        """Return the first message of a connection: who we are and what we have."""
        hello = frames.Hello(
            token=token,
            ticket=ticket,
            device=self.device,
            subscribe=tuple(
                frames.Subscription(stream, self.cursor(stream)) for stream in self.streams
            ),
        )
        for reading in self.streams.values():
            reading.resubscribed = False
            reading.unacked_events = reading.unacked_bytes = 0
        return msgspec.json.encode(hello)

    def cursor(self, stream: str) -> str:
        """Return where to resume a stream."""
        cursor = self.streams[stream].cursor
        return "0" if cursor is None else str(cursor)

    def command(self, command: Command) -> bytes:
        """Return the message that carries a command; it is repeated until it is answered."""
        self.outbox[command.id] = command
        return msgspec.json.encode(command)

    def unanswered(self) -> list[bytes]:
        """Return the commands to send again after a reconnect, in their order."""
        return [msgspec.json.encode(command) for command in self.outbox.values()]

    def receive(self, message: str | bytes) -> list[Happening]:
        """Take a message of the server."""
        happenings: list[Happening] = []
        for raw in _split(message):
            happenings += self._receive_one(bytes(raw))
        return happenings

    def acknowledgement(self) -> bytes | None:
        """Return the acknowledgement of everything applied, if there is any to give."""
        due = {s: r for s, r in self.streams.items() if r.unacked_events and r.cursor}
        if not due:
            return None
        for reading in due.values():
            reading.unacked_events = reading.unacked_bytes = 0
        positions = {s: r.cursor.offset for s, r in due.items() if r.cursor}
        return msgspec.json.encode(frames.Ack(positions=positions))

    def _receive_one(self, raw: bytes) -> list[Happening]:
        frame: dict[str, Any] = msgspec.json.decode(raw)
        if "event_id" in frame:
            return self._event(raw)
        match frame.get("type"):
            case "connection_established":
                refused = tuple(s for s in frame.get("streams", ()) if not s["ok"])
                return [Greeted(frame, refused)]
            case "ping":
                return [Reply(msgspec.json.encode(frames.Pong(n=frame["n"])))]
            case "accepted":
                receipt = msgspec.convert(frame, Receipt)
                self.outbox.pop(receipt.ref, None)
                return [Answered(receipt.ref, receipt, None)]
            case "error" if frame.get("ref") in self.outbox:
                del self.outbox[frame["ref"]]
                return [Answered(frame["ref"], None, frame)]
            case _:
                return [Told(frame)]

    def _event(self, raw: bytes) -> list[Happening]:
        event = msgspec.json.decode(raw, type=Event)
        reading = self.streams.setdefault(event.stream, Reading())
        last = reading.cursor.offset if reading.cursor else None
        if last is not None and event.offset <= last:
            self.duplicates += 1
            return []
        if last is not None and event.offset > last + 1:
            return self._gap(event.stream, reading)
        reading.cursor = cursor_of(event.epoch, event.offset, event.event_id)
        reading.resubscribed = False
        reading.unacked_events += 1
        reading.unacked_bytes += len(raw)
        happenings: list[Happening] = [Apply(event, raw)]
        if reading.unacked_events >= ACK_EVENTS or reading.unacked_bytes >= ACK_BYTES:
            acknowledgement = self.acknowledgement()
            happenings += [Reply(acknowledgement)] if acknowledgement else []
        return happenings

    def _gap(self, stream: str, reading: Reading) -> list[Happening]:
        """Ask once for what is missing; if that brings another gap, start the connection anew."""
        if reading.resubscribed:
            raise GapError(stream)
        reading.resubscribed = True
        again = frames.Subscribe(stream=stream, cursor=self.cursor(stream))
        return [Reply(msgspec.json.encode(again))]


class GapError(Exception):
    """A stream came with a gap twice; reconnect and resume."""


def _split(message: str | bytes) -> list[msgspec.Raw]:
    if message[:1] in {"[", b"["}:
        return msgspec.json.decode(message, type=list[msgspec.Raw])
    return [msgspec.Raw(message)]
