"""What the server says on the wire, beside events: typed values. See docs/protocol.md."""

import math
from typing import Literal

import msgspec
from msgspec.structs import replace

from tidings.domain.commands import Receipt
from tidings.domain.errors import TidingsError
from tidings.protocol import frames


class StreamStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one subscription: it goes on at `from`, or it cannot, and `code` says why.

    `snapshot` is the address of the state to begin from instead.
    """

    stream: str
    ok: bool
    start: int | None = msgspec.field(default=None, name="from")
    head: int | None = None
    code: str | None = None
    message: str | None = None
    snapshot: str | None = None


class Heartbeat(msgspec.Struct, frozen=True):
    """After how much silence the server pings, and how long it waits for the answer."""

    interval_seconds: float
    timeout_seconds: float


class ConnectionLimits(msgspec.Struct, frozen=True):
    """What a client may send and have sent to it."""

    frame_bytes: int
    window_events: int
    window_bytes: int
    subscriptions: int


class ConnectionEstablished(
    msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="connection_established"
):
    """The greeting; to a hello, with one status for each subscription."""

    version: int
    connection_id: str
    user_id: str
    heartbeat: Heartbeat
    limits: ConnectionLimits
    streams: list[StreamStatus]
    token_expires_at: float | None = None


class Accepted(msgspec.Struct, frozen=True, tag_field="type", tag="accepted"):
    """The command is durable; its first event stands at `offset` of the thread."""

    ref: str
    run_id: str
    thread_id: str
    offset: int
    duplicate: bool


class ErrorFrame(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="error"):
    """Something was not done; never an acknowledgement."""

    code: str
    message: str
    ref: str | None = None
    retryable: bool | None = None
    retry_after_ms: int | None = None
    got: str | None = None
    did_you_mean: str | None = None


class Live(msgspec.Struct, frozen=True, tag_field="type", tag="live"):
    """All that was there when the client subscribed has been sent."""

    stream: str
    offset: int


class Subscribed(msgspec.Struct, frozen=True, tag_field="type", tag="subscribed"):
    """A `subscribe` with this cursor goes on at `from`; what came before belonged to an older one.

    A client that asked for `0` or `live` knows by it where the stream begins.
    """

    stream: str
    cursor: str
    start: int = msgspec.field(name="from")
    head: int


class Reset(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="reset"):
    """The stream cannot go on from where the client is, and is not followed any more."""

    stream: str
    why: Literal["retention", "diverged", "deleted"]
    snapshot: str | None = None


class Ping(msgspec.Struct, frozen=True, tag_field="type", tag="ping"):
    """Answer with `pong`."""

    n: int


class AuthExpiring(msgspec.Struct, frozen=True, tag_field="type", tag="auth_expiring"):
    """Send `auth`."""

    in_seconds: int


class Drain(msgspec.Struct, frozen=True, tag_field="type", tag="drain"):
    """The server stops: open another connection within this time, at random, then leave this."""

    reconnect_within_ms: tuple[int, int]


ServerFrame = (
    ConnectionEstablished
    | Accepted
    | ErrorFrame
    | Subscribed
    | Live
    | Reset
    | Ping
    | AuthExpiring
    | Drain
)


def encode(frame: ServerFrame) -> bytes:
    """Write a frame."""
    return msgspec.json.encode(frame)


def accepted(receipt: Receipt) -> Accepted:
    """Return the answer to a command that is durable now."""
    return Accepted(
        receipt.ref, receipt.run_id, receipt.thread_id, receipt.offset, receipt.duplicate
    )


def refusal(error: TidingsError, ref: str | None = None) -> ErrorFrame:
    """Return what tells a client of an error."""
    after = error.retry_after_seconds
    after_ms = None if after is None else math.ceil(after * 1000)
    frame = ErrorFrame(error.code, error.message, ref, error.retryable, after_ms)
    if isinstance(error, frames.UnknownType):
        return replace(frame, got=error.got, did_you_mean=error.did_you_mean)
    return frame


def not_followed(stream: str, error: TidingsError) -> StreamStatus:
    """Return why a subscription of a hello cannot be followed."""
    snapshot = _snapshot_of(stream) if error.code in {"cursor_diverged", "cursor_trimmed"} else None
    return StreamStatus(stream, ok=False, code=error.code, message=error.message, snapshot=snapshot)


_RESETS: dict[str, Literal["retention", "diverged", "deleted"]] = {
    "cursor_trimmed": "retention",
    "cursor_diverged": "diverged",
    "not_found": "deleted",
}
"""Why a followed stream ends, by the code of the error that ends it."""


def reset(stream: str, error: TidingsError) -> Reset:
    """Return why a stream cannot be gone on with, and where to begin anew."""
    why = _RESETS[error.code]
    return Reset(stream, why, None if why == "deleted" else _snapshot_of(stream))


def _snapshot_of(stream: str) -> str | None:
    """Return where a stream's state can be read with a cursor to go on from."""
    kind, _, name = stream.partition(":")
    return f"/api/threads/{name}/snapshot" if kind == "thread" else None


def batch(messages: list[bytes]) -> bytes:
    """Join frames into one message: an object alone, several as an array."""
    return messages[0] if len(messages) == 1 else b"[" + b",".join(messages) + b"]"
