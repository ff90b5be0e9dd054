"""The server's end of one connection: what frames mean, what may be sent, when it is over.

Pure: frames and times in, effects out. The gateway carries out the effects and reports back.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from tidings.domain.commands import Command, Receipt
from tidings.domain.context import UserContext
from tidings.domain.errors import InvalidInput, LimitExceeded, TidingsError, Unauthenticated
from tidings.domain.events import thread_stream
from tidings.protocol import frames
from tidings.protocol.closing import Close
from tidings.protocol.frames import (
    Ack,
    Auth,
    BadFrame,
    ClientFrame,
    Hello,
    Pong,
    Subscribe,
    Subscription,
    Unsubscribe,
)

HELLO_SECONDS = 5.0
PING_SECONDS = 20.0
PONG_SECONDS = 10.0
ACK_STALL_SECONDS = 30.0
EXPIRY_WARNING_SECONDS = 60.0
EXPIRY_GRACE_SECONDS = 25.0
ERRORS_PER_MINUTE_MAX = 10
FRAMES_PER_SECOND_MAX = 100
WINDOW_EVENTS = (16, 4096)
WINDOW_BYTES = (16 * 1024, 4 * 1024 * 1024)


@dataclass(frozen=True, slots=True)
class Send:
    """Write this message to the socket."""

    message: bytes


@dataclass(frozen=True, slots=True)
class CloseWith:
    """Close the socket; nothing follows."""

    code: Close
    reason: str


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Find out who this is; report by `authenticated` or `refused`."""

    ticket: str | None
    token: str | None


@dataclass(frozen=True, slots=True)
class Carry:
    """Have this command accepted; report by `accepted` or `failed`."""

    command: Command


@dataclass(frozen=True, slots=True)
class Follow:
    """Follow these streams; report by `followed` or, when it greets, `greeted`."""

    subscriptions: tuple[Subscription, ...]
    greeting: bool


@dataclass(frozen=True, slots=True)
class Leave:
    """Stop following this stream."""

    stream: str


@dataclass(frozen=True, slots=True)
class Remember:
    """Store how far this device has applied the streams."""

    device: str
    positions: dict[str, int]


Effect = Send | CloseWith | Authenticate | Carry | Follow | Leave | Remember


@dataclass(slots=True)
class Sent:
    """What went out on a stream and is not acknowledged yet: offsets with their sizes."""

    last: int = 0
    unacked: deque[tuple[int, int]] = field(default_factory=deque)


class Connection:
    """The rules of one socket, from the first frame to the close."""

    def __init__(self, connection_id: str, now: float) -> None:
        self.user: UserContext | None = None
        self.device: str | None = None
        self.closed = False
        self._id = connection_id
        self._opened = now
        self._plain = False
        self._greeted = False
        self._heard = now
        self._spoke = now
        self._pinged: float | None = None
        self._ping = 0
        self._expires_at = float("inf")
        self._warned = False
        self._window = frames.Window()
        self._sent: dict[str, Sent] = {}
        self._open_events = 0
        self._open_bytes = 0
        self._progress = now
        self._errors: deque[float] = deque()
        self._frames: deque[float] = deque()

    # -- who it is ---------------------------------------------------------------------------

    def opened(self, user: UserContext, expires_at: float) -> list[Effect]:
        """Greet a client that came with credentials in its headers; it need not say hello."""
        self.user, self._expires_at, self._plain = user, expires_at, True
        return [Send(self._greeting([]))]

    def authenticated(self, user: UserContext, expires_at: float) -> list[Effect]:
        """Take the answer to `Authenticate`: the user of this socket never changes."""
        if self.user is not None and self.user.user_id != user.user_id:
            return self.close(Close.AUTH_FAILED, "a socket keeps its user")
        self.user, self._expires_at, self._warned = user, expires_at, False
        return []

    def refused(self, error: TidingsError) -> list[Effect]:
        """Take the other answer to `Authenticate`."""
        return [
            Send(frames.error_frame(error)),
            *self.close(Close.AUTH_FAILED, error.code),
        ]

    # -- what it says ------------------------------------------------------------------------

    def receive(self, text: str, now: float) -> list[Effect]:
        """Take a text message from the client."""
        self._heard = now
        self._pinged = None
        self._frames.append(now)
        while self._frames[0] <= now - 1:
            self._frames.popleft()
        if len(self._frames) > FRAMES_PER_SECOND_MAX:
            return self.close(Close.ABUSE, "too many frames")
        if self.user is None and len(text) > frames.FIRST_FRAME_BYTES_MAX:
            return self.close(Close.BAD_FRAME, "the first frame is too long")
        try:
            items = frames.decode(text)
        except BadFrame as error:
            return self._broken(error)
        effects: list[Effect] = []
        for raw in items:
            effects += self._receive_one(raw, now)
            if self.closed:
                break
        return effects

    def receive_binary(self) -> list[Effect]:
        """Take a binary message: this protocol has none."""
        return self.close(Close.BINARY, "text frames only")

    def _receive_one(self, raw: Any, now: float) -> list[Effect]:
        try:
            frame = frames.decode_frame(raw)
        except BadFrame as error:
            return self._broken(error)
        except InvalidInput as error:
            return self.failed(error, frames.reference(raw), now)
        if self.user is None and not isinstance(frame, Hello):
            return self.close(Close.PROTOCOL_VIOLATION, "say hello first")
        return self._understood(frame)

    def _understood(self, frame: ClientFrame) -> list[Effect]:
        match frame:
            case Hello():
                return self._hello(frame)
            case Ack():
                return self._ack(frame)
            case Subscribe():
                return [Follow((Subscription(frame.stream, frame.cursor),), greeting=False)]
            case Unsubscribe():
                self._forget(frame.stream)
                return [Leave(frame.stream)]
            case Auth():
                return [Authenticate(frame.ticket, frame.token)]
            case Pong():
                return []
            case _:
                return [Carry(frame)]

    def _hello(self, frame: Hello) -> list[Effect]:
        if self._greeted:
            return self.close(Close.PROTOCOL_VIOLATION, "hello is said once")
        if frames.VERSION not in frame.versions:
            return self.close(Close.NO_COMMON_VERSION, "this server speaks version 1")
        if len(frame.subscribe) > frames.SUBSCRIPTIONS_MAX:
            return self.close(Close.PROTOCOL_VIOLATION, "too many streams")
        self._greeted, self._plain = True, False
        self.device = frame.device and frame.device[: frames.ECHO_CHARACTERS_MAX]
        self._window = frames.Window(
            min(max(frame.window.events, WINDOW_EVENTS[0]), WINDOW_EVENTS[1]),
            min(max(frame.window.bytes, WINDOW_BYTES[0]), WINDOW_BYTES[1]),
        )
        effects: list[Effect] = []
        if self.user is None or frame.ticket or frame.token:
            effects.append(Authenticate(frame.ticket, frame.token))
        return [*effects, Follow(frame.subscribe, greeting=True)]

    def _ack(self, frame: Ack) -> list[Effect]:
        for stream, offset in frame.positions.items():
            sent = self._sent.get(stream)
            if sent is None:
                continue
            if offset > sent.last:
                return self.close(Close.PROTOCOL_VIOLATION, "acknowledged what was not sent")
            while sent.unacked and sent.unacked[0][0] <= offset:
                self._open_events -= 1
                self._open_bytes -= sent.unacked.popleft()[1]
                self._progress = self._heard
        known = {s: o for s, o in frame.positions.items() if s in self._sent and o > 0}
        return [Remember(self.device, known)] if self.device and known else []

    # -- what came of it ---------------------------------------------------------------------

    def accepted(self, receipt: Receipt) -> list[Effect]:
        """Answer a command that is durable, and follow the thread it belongs to."""
        effects: list[Effect] = [Send(frames.accepted(receipt))]
        stream = thread_stream(receipt.thread_id)
        if stream not in self._sent:
            place = Subscription(stream, str(receipt.offset - 1))
            effects.append(Follow((place,), greeting=False))
        return effects

    def failed(self, error: TidingsError, ref: str | None, now: float) -> list[Effect]:
        """Answer a frame that could not be carried out; too many of them end the connection."""
        effects: list[Effect] = [Send(frames.error_frame(error, ref))]
        self._errors.append(now)
        while self._errors[0] <= now - 60:
            self._errors.popleft()
        if len(self._errors) > ERRORS_PER_MINUTE_MAX:
            effects += self.close(Close.ABUSE, "too many errors")
        return effects

    def followed(self, stream: str, after: int) -> None:
        """Take note that a stream is followed from here on."""
        self._sent.setdefault(stream, Sent(last=after))

    def not_followed(self, stream: str, error: TidingsError) -> list[Effect]:
        """Tell why a stream cannot be followed; the connection and its other streams go on."""
        return [Send(frames.error_frame(error, stream))]

    def greeted(self, streams: list[dict[str, Any]]) -> list[Effect]:
        """Answer hello, with what became of each stream."""
        return [Send(self._greeting(streams))]

    # -- what it may be sent -----------------------------------------------------------------

    def credit(self) -> int:
        """Return how many events may be sent now; a plain client's window is its socket."""
        if self._plain:
            return self._window.events
        if self._open_bytes >= self._window.bytes:
            return 0
        return self._window.events - self._open_events

    def events(self, stream: str, entries: list[tuple[int, bytes]], now: float) -> list[Effect]:
        """Send entries of a stream; the caller asked `credit` before."""
        self._spoke = now
        sent = self._sent[stream]
        sent.last = entries[-1][0]
        if self._plain:
            return [Send(frame) for _, frame in entries]
        if not self._open_events:
            self._progress = now
        sent.unacked.extend((offset, len(frame)) for offset, frame in entries)
        self._open_events += len(entries)
        self._open_bytes += sum(len(frame) for _, frame in entries)
        return [Send(frames.batch([frame for _, frame in entries]))]

    def live(self, stream: str, offset: int) -> list[Effect]:
        """Tell that everything that was there when it subscribed has been sent."""
        return [Send(frames.encode({"type": "live", "stream": stream, "offset": offset}))]

    # -- time --------------------------------------------------------------------------------

    def tick(self, now: float, wall: float) -> list[Effect]:
        """Take note of the time, about once a second: silence, stalls and expiry."""
        if self.user is None:
            if now - self._opened >= HELLO_SECONDS:
                return self.close(Close.HELLO_TIMEOUT, "say hello within 5 s")
            return []
        if self._pinged is not None and now - self._pinged >= PONG_SECONDS:
            return self.close(Close.HEARTBEAT, "no sign of life")
        if self._open_events and now - self._progress >= ACK_STALL_SECONDS:
            return self.close(Close.ACKS_STALLED, "nothing was acknowledged")
        return [*self._expiry(wall), *self._heartbeat(now)]

    def close(self, code: Close, reason: str) -> list[Effect]:
        """End the connection, once."""
        if self.closed:
            return []
        self.closed = True
        return [CloseWith(code, reason)]

    def _heartbeat(self, now: float) -> list[Effect]:
        if self._plain or self._pinged is not None:
            return []
        if now - max(self._spoke, self._heard) < PING_SECONDS:
            return []
        self._ping += 1
        self._pinged = now
        return [Send(frames.encode({"type": "ping", "n": self._ping}))]

    def _expiry(self, wall: float) -> list[Effect]:
        left = self._expires_at - wall
        if left <= -EXPIRY_GRACE_SECONDS:
            error = Unauthenticated("token_expired", "Get a fresh token and connect again.")
            return [
                Send(frames.error_frame(error)),
                *self.close(Close.TOKEN_EXPIRED, "token expired"),
            ]
        if left <= EXPIRY_WARNING_SECONDS and not self._warned:
            self._warned = True
            return [
                Send(frames.encode({"type": "auth_expiring", "in_seconds": max(0, round(left))}))
            ]
        return []

    def _broken(self, error: BadFrame) -> list[Effect]:
        return [Send(frames.error_frame(error)), *self.close(Close.BAD_FRAME, error.message)]

    def _forget(self, stream: str) -> None:
        sent = self._sent.pop(stream, None)
        if sent is not None:
            self._open_events -= len(sent.unacked)
            self._open_bytes -= sum(size for _, size in sent.unacked)

    def _greeting(self, streams: list[dict[str, Any]]) -> bytes:
        assert self.user is not None  # noqa: S101 - nobody is greeted before they are known
        return frames.encode(
            {
                "type": "connection_established",
                "version": frames.VERSION,
                "connection_id": self._id,
                "user_id": self.user.user_id,
                "heartbeat": {"interval_seconds": PING_SECONDS, "timeout_seconds": PONG_SECONDS},
                "limits": {
                    "frame_bytes": frames.FRAME_BYTES_MAX,
                    "window_events": self._window.events,
                    "window_bytes": self._window.bytes,
                    "subscriptions": frames.SUBSCRIPTIONS_MAX,
                },
                "token_expires_at": None if self._expires_at == float("inf") else self._expires_at,
                "streams": streams,
            }
        )


def too_many_streams() -> LimitExceeded:
    """Return the answer to one subscription too many."""
    limit = frames.SUBSCRIPTIONS_MAX
    return LimitExceeded("too_many_streams", f"Follow at most {limit} streams on a connection.")
