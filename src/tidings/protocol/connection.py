"""The server's end of one connection: what frames mean, what may be sent, when it is over.

Pure: frames and times in, effects out. The gateway carries out the effects and reports back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from tidings.domain.commands import Command, Receipt
from tidings.domain.context import UserContext
from tidings.domain.errors import InvalidInput, LimitExceeded, TidingsError, Unauthenticated
from tidings.domain.events import thread_stream
from tidings.protocol import frames, server_frames
from tidings.protocol.closing import Close
from tidings.protocol.effects import (
    Authenticate,
    Carry,
    CloseWith,
    Effect,
    Follow,
    Leave,
    Miscounted,
    Remember,
    Send,
)
from tidings.protocol.flow import Flow
from tidings.protocol.frames import (
    Ack,
    Auth,
    BadFrame,
    ClientFrame,
    Hello,
    Mismatch,
    Pong,
    Subscribe,
    Subscription,
    Unsubscribe,
)
from tidings.protocol.server_frames import ServerFrame, StreamStatus

HELLO_SECONDS = 5.0
PING_SECONDS = 20.0
PING_SPREAD = 0.1
PONG_SECONDS = 10.0
ACK_STALL_SECONDS = 30.0
SEND_SECONDS_MAX = 30.0
EXPIRY_WARNING_SECONDS = 60.0
EXPIRY_GRACE_SECONDS = 25.0
ERRORS_PER_MINUTE_MAX = 10
FRAMES_PER_SECOND_MAX = 100


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a connection waits for what, in seconds."""

    hello: float = HELLO_SECONDS
    ping: float = PING_SECONDS
    pong: float = PONG_SECONDS
    ack_stall: float = ACK_STALL_SECONDS
    send: float = SEND_SECONDS_MAX
    expiry_warning: float = EXPIRY_WARNING_SECONDS
    expiry_grace: float = EXPIRY_GRACE_SECONDS


PACE = Pace()
"""What is promised to clients."""


Sendable = tuple[int, bytes, *tuple[int, ...]]
"""An offset and the event's frame."""


class Connection:
    """The rules of one socket, from the first frame to the close."""

    def __init__(self, connection_id: str, now: float, pace: Pace) -> None:
        self.user: UserContext | None = None
        self.device: str | None = None
        self.closed = False
        self.welcomed = False
        self.flow = Flow(now)
        self._id = connection_id
        self._pace = pace
        self._silence = pace.ping * _spread(connection_id)
        self._opened = now
        self._introduced = False
        self._greeted = False
        self._heard = now
        self._spoke = now
        self._pinged: float | None = None
        self._ping = 0
        self._expires_at = float("inf")
        self._warned = False
        self._expired = False
        self._errors: list[float] = []
        self._frames: list[float] = []

    # -- who it is ---------------------------------------------------------------------------

    def introduced(self) -> None:
        """Take note that it has said who it is: however long that is looked up, it is not late."""
        self._introduced = True

    def opened(self, user: UserContext, expires_at: float) -> list[Effect]:
        """Greet a client that came with credentials in its headers; it need not say hello."""
        self.user, self._expires_at = user, expires_at
        self.flow.unbounded()
        return [self._greeting([])]

    def authenticated(self, user: UserContext, expires_at: float) -> list[Effect]:
        """Take the answer to `Authenticate`: the user of this socket never changes."""
        if self.user is not None and self.user.user_id != user.user_id:
            return self.close(Close.AUTH_FAILED, "a socket keeps its user")
        self.user, self._expires_at = user, expires_at
        self._warned = self._expired = False
        return []

    def refused(self, error: TidingsError) -> list[Effect]:
        """Take the other answer to `Authenticate`."""
        return [_say(server_frames.refusal(error)), *self.close(Close.AUTH_FAILED, error.code)]

    # -- what it says ------------------------------------------------------------------------

    def receive(self, text: str | None, now: float) -> list[Effect]:
        """Take a message from the client; None stands for a binary one, which there is none of."""
        if text is None:
            return self.close(Close.BINARY, "text frames only")
        self._heard = now
        self._pinged = None
        self._frames.append(now)
        while self._frames[0] <= now - 1:
            del self._frames[0]
        if len(self._frames) > FRAMES_PER_SECOND_MAX:
            return self.close(Close.ABUSE, "too many frames")
        if self.user is None and len(text) > frames.FIRST_FRAME_BYTES_MAX:
            return self.close(Close.BAD_FRAME, "the first frame is too long")
        owed = self.flow.owed
        effects = self._receive_all(text, now)
        if self.flow.owed < owed:
            self._frames.pop()  # as many acknowledgements are welcome as the client can earn
        return effects

    def _receive_all(self, text: str, now: float) -> list[Effect]:
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

    def _receive_one(self, raw: Any, now: float) -> list[Effect]:
        try:
            frame = frames.decode_frame(raw)
        except BadFrame as error:
            return self._broken(error)
        except InvalidInput as error:
            return self.failed(error, frames.reference(raw), now)
        if self.user is None and not isinstance(frame, Hello):
            return self.close(Close.PROTOCOL_VIOLATION, "say hello first")
        if isinstance(frame, Command) and self._expired:
            return self.failed(_token_expired(), frame.id, now)
        return self._understood(frame, now)

    def _understood(self, frame: ClientFrame, now: float) -> list[Effect]:
        match frame:
            case Hello():
                return self._hello(frame)
            case Ack():
                return self._ack(frame, now)
            case Subscribe():
                return [Follow((Subscription(frame.stream, frame.cursor),))]
            case Unsubscribe():
                self.flow.forget(frame.stream)
                return [Leave(frame.stream)]
            case Auth():
                return [Authenticate(frame.ticket, frame.token)]
            case Mismatch():
                return [Miscounted(frame)]
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
        self.introduced()
        self.welcomed = False  # nothing of the streams before they are told of
        self._greeted = self.flow.acknowledged = True
        self.device = frame.device and frame.device[: frames.ECHO_CHARACTERS_MAX]
        self.flow.open(frame.window)
        effects: list[Effect] = []
        if self.user is None or frame.ticket or frame.token:
            effects.append(Authenticate(frame.ticket, frame.token))
        return [*effects, Follow(frame.subscribe, greeting=True)]

    def _ack(self, frame: Ack, now: float) -> list[Effect]:
        news = self.flow.acknowledge(frame.positions, now)
        if news is None:
            return self.close(Close.PROTOCOL_VIOLATION, "acknowledged what was not sent")
        return [Remember(self.device, news)] if self.device and news else []

    # -- what came of it ---------------------------------------------------------------------

    def accepted(self, receipt: Receipt) -> list[Effect]:
        """Answer a command that is durable, and follow the thread it belongs to."""
        effects: list[Effect] = [_say(server_frames.accepted(receipt))]
        stream = thread_stream(receipt.thread_id)
        if not self.flow.follows(stream):
            place = Subscription(stream, str(receipt.offset - 1))
            effects.append(Follow((place,), asked=False))
        return effects

    def failed(self, error: TidingsError, ref: str | None, now: float) -> list[Effect]:
        """Answer a frame that could not be carried out; too many of them end the connection.

        What may succeed later is not the client's fault and does not count.
        """
        effects: list[Effect] = [_say(server_frames.refusal(error, ref))]
        if error.retryable:
            return effects
        self._errors.append(now)
        while self._errors[0] <= now - 60:
            del self._errors[0]
        if len(self._errors) > ERRORS_PER_MINUTE_MAX:
            effects += self.close(Close.ABUSE, "too many errors")
        return effects

    def not_followed(self, stream: str, error: TidingsError, now: float) -> list[Effect]:
        """Answer a subscription that cannot be; the connection and its other streams go on."""
        if error.code in {"cursor_trimmed", "cursor_diverged"}:
            return self.ended(stream, error)
        return self.failed(error, stream[: frames.ECHO_CHARACTERS_MAX], now)

    def ended(self, stream: str, error: TidingsError) -> list[Effect]:
        """Tell why a stream cannot be gone on with, and where to begin anew."""
        self.flow.forget(stream)
        return [_say(server_frames.reset(stream, error))]

    def greeted(self, streams: list[StreamStatus]) -> list[Effect]:
        """Answer hello, with what became of each stream."""
        return [self._greeting(streams)]

    # -- what it may be sent -----------------------------------------------------------------

    def events(self, stream: str, entries: Sequence[Sendable], now: float) -> list[Send]:
        """Send entries of a stream, (offset, frame, ...) each; the flow had credit for them."""
        self._spoke = now
        self.flow.send(stream, [(entry[0], len(entry[1])) for entry in entries], now)
        if not self.flow.acknowledged:
            return [Send(entry[1]) for entry in entries]
        return [Send(server_frames.batch([entry[1] for entry in entries]))]

    def live(self, stream: str, offset: int) -> list[Effect]:
        """Tell that everything that was there when it subscribed has been sent."""
        return [_say(server_frames.Live(stream, offset))]

    def drain(self, within_ms: int) -> list[Effect]:
        """Ask the client to be gone soon."""
        return [_say(server_frames.Drain((0, within_ms)))] if self.user is not None else []

    # -- time --------------------------------------------------------------------------------

    def tick(self, now: float, wall: float) -> list[Effect]:
        """Take note of the time, about once a second: silence, stalls and expiry."""
        if self.user is None:
            if not self._introduced and now - self._opened >= self._pace.hello:
                return self.close(Close.HELLO_TIMEOUT, f"say hello within {self._pace.hello:g} s")
            return []
        if self._pinged is not None and now - self._pinged >= self._pace.pong:
            return self.close(Close.HEARTBEAT, "no sign of life")
        if self.flow.stalled(now, self._pace.ack_stall):
            return self.close(Close.ACKS_STALLED, "nothing was acknowledged")
        return [*self._expiry(wall), *self._heartbeat(now)]

    def close(self, code: Close, reason: str) -> list[Effect]:
        """End the connection, once."""
        if self.closed:
            return []
        self.closed = True
        return [CloseWith(code, reason)]

    def _heartbeat(self, now: float) -> list[Effect]:
        if not self.flow.acknowledged or self._pinged is not None:
            return []
        if now - max(self._spoke, self._heard) < self._silence:
            return []
        self._ping += 1
        self._pinged = now
        return [_say(server_frames.Ping(self._ping))]

    def _expiry(self, wall: float) -> list[Effect]:
        left = self._expires_at - wall
        self._expired = left <= 0
        if left <= -self._pace.expiry_grace:
            said = _say(server_frames.refusal(_token_expired()))
            return [said, *self.close(Close.TOKEN_EXPIRED, "token expired")]
        if left <= self._pace.expiry_warning and not self._warned:
            self._warned = True
            return [_say(server_frames.AuthExpiring(max(0, round(left))))]
        return []

    def _broken(self, error: BadFrame) -> list[Effect]:
        said = _say(server_frames.refusal(error))
        return [said, *self.close(Close.BAD_FRAME, error.message)]

    def _greeting(self, streams: list[StreamStatus]) -> Send:
        assert self.user is not None  # noqa: S101 - nobody is greeted before they are known
        self.welcomed = True
        window = self.flow.window
        return _say(
            server_frames.ConnectionEstablished(
                version=frames.VERSION,
                connection_id=self._id,
                user_id=self.user.user_id,
                heartbeat=server_frames.Heartbeat(self._pace.ping, self._pace.pong),
                limits=server_frames.ConnectionLimits(
                    frames.FRAME_BYTES_MAX, window.events, window.bytes, frames.SUBSCRIPTIONS_MAX
                ),
                streams=streams,
                token_expires_at=None if self._expires_at == float("inf") else self._expires_at,
            )
        )


def followed(cursor: str, status: StreamStatus) -> Effect:
    """Answer a subscription: what comes of the stream from now on belongs to it."""
    start, head = status.start or 1, status.head or 0
    return _say(server_frames.Subscribed(status.stream, cursor, start, head))


def too_many_streams() -> LimitExceeded:
    """Return the answer to one subscription too many."""
    limit = frames.SUBSCRIPTIONS_MAX
    return LimitExceeded("too_many_streams", f"Follow at most {limit} streams on a connection.")


def _say(frame: ServerFrame) -> Send:
    return Send(server_frames.encode(frame))


def _token_expired() -> Unauthenticated:
    return Unauthenticated("token_expired", "Get a fresh token and send `auth`, or connect again.")


def _spread(connection_id: str) -> float:
    """Return a factor around 1 that differs between connections, so that they do not all ping."""
    return 1 + PING_SPREAD * (crc32(connection_id.encode()) / 0x7FFFFFFF - 1)
