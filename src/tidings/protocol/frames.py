"""What clients say in `tidings.v1`: typed values, and how they are read. See docs/protocol.md."""

import difflib
from typing import Any

import msgspec

from tidings.domain.commands import (
    AnswerInput,
    Approve,
    Chat,
    Command,
    StartAgent,
    StopAgent,
    UserMessage,
)
from tidings.domain.errors import InvalidInput
from tidings.domain.proof import Proof

VERSION = 1
SUBPROTOCOL = "tidings.v1"
FRAME_BYTES_MAX = 64 * 1024
FIRST_FRAME_BYTES_MAX = 8 * 1024  # a token and a cursor for each of SUBSCRIPTIONS_MAX streams
FRAMES_PER_BATCH_MAX = 64
ECHO_CHARACTERS_MAX = 64
SUBSCRIPTIONS_MAX = 64


class Window(msgspec.Struct, frozen=True):
    """How much a client lets the server send ahead of its acknowledgements."""

    events: int = 512
    bytes: int = 256 * 1024


class Subscription(msgspec.Struct, frozen=True):
    """A stream to follow, from a cursor, `0` or `live`."""

    stream: str
    cursor: str = "0"


class Hello(msgspec.Struct, frozen=True, tag_field="type", tag="hello"):
    """The first frame of a full client."""

    versions: tuple[int, ...] = (VERSION,)
    ticket: str | None = None
    token: str | None = None
    device: str | None = None
    window: Window = Window()
    subscribe: tuple[Subscription, ...] = ()


class Ack(msgspec.Struct, frozen=True, tag_field="type", tag="ack"):
    """Everything up to these offsets has been applied."""

    positions: dict[str, int]


class Subscribe(msgspec.Struct, frozen=True, tag_field="type", tag="subscribe"):
    """Follow a stream."""

    stream: str
    cursor: str = "0"


class Unsubscribe(msgspec.Struct, frozen=True, tag_field="type", tag="unsubscribe"):
    """Stop following a stream."""

    stream: str


class Auth(msgspec.Struct, frozen=True, tag_field="type", tag="auth"):
    """Fresh credentials of the same user."""

    ticket: str | None = None
    token: str | None = None


class Pong(msgspec.Struct, frozen=True, tag_field="type", tag="pong"):
    """I am here."""

    n: int = 0


class Mismatch(msgspec.Struct, frozen=True, tag_field="type", tag="mismatch"):
    """A run's proof of completeness does not fit what has been applied."""

    stream: str
    run_id: str
    expected: Proof
    got: Proof


ClientFrame = (
    Hello
    | Ack
    | Subscribe
    | Unsubscribe
    | Auth
    | Pong
    | Mismatch
    | StartAgent
    | UserMessage
    | Chat
    | StopAgent
    | AnswerInput
    | Approve
)
TYPES: tuple[str, ...] = tuple(frame.__struct_config__.tag for frame in ClientFrame.__args__)
COMMANDS: tuple[str, ...] = tuple(command.__struct_config__.tag for command in Command.__args__)
SYNONYMS = {
    "agent_execute": "start_agent",
    "execute_agent": "start_agent",
    "run_agent": "start_agent",
    "message": "user_message",
    "send_message": "user_message",
    "cancel": "stop_agent",
    "cancel_run": "stop_agent",
    "input": "answer",
    "resume": "answer",
    "reject": "approve",
}
"""What people try first, where spelling alone would not tell what they mean."""


class BadFrame(InvalidInput):
    """Not a frame at all: the connection cannot go on."""

    def __init__(self, message: str) -> None:
        super().__init__("bad_frame", message)


class UnknownType(InvalidInput):
    """A frame of a type that does not exist; it was not carried out."""

    def __init__(self, got: str) -> None:
        super().__init__("unknown_type", "There is no such type of frame; nothing was done.")
        self.got = got[:ECHO_CHARACTERS_MAX]
        close = difflib.get_close_matches(got[:ECHO_CHARACTERS_MAX], TYPES, 1)
        self.did_you_mean = SYNONYMS.get(got) or (close[0] if close else None)


class _Envelope(msgspec.Struct):
    """As much of a frame as an error has to refer to."""

    type: Any = None
    id: Any = None


_frame = msgspec.json.Decoder(ClientFrame)
_command = msgspec.json.Decoder(Command)
_envelope = msgspec.json.Decoder(_Envelope)
_items = msgspec.json.Decoder(list[msgspec.Raw])


def decode(text: str | bytes) -> list[msgspec.Raw]:
    """Split what arrived into single frames: one object, or an array of objects.

    Raises:
        BadFrame: it is not JSON, too long, or neither an object nor an array of a few.
    """
    if len(text) > FRAME_BYTES_MAX:
        raise BadFrame("The frame is too long.")
    start = text.lstrip()[:1]
    if start in {"{", b"{"}:
        return [msgspec.Raw(text)]
    if start not in {"[", b"["}:
        raise BadFrame("A frame is a JSON object, or an array of them.")
    items = _decoded(_items, text)
    if not 0 < len(items) <= FRAMES_PER_BATCH_MAX:
        raise BadFrame(f"A batch holds 1 to {FRAMES_PER_BATCH_MAX} frames.")
    return list(items)


def decode_frame(raw: msgspec.Raw | bytes | str) -> ClientFrame:
    """Read one frame.

    Raises:
        BadFrame: not a JSON object.
        UnknownType: no such type.
        InvalidInput: `bad_message`: a field is missing or wrong; the message names it.
    """
    frame: ClientFrame = _typed(_frame, raw)
    return frame


def decode_command(raw: bytes) -> Command:
    """Read one command, as POST /api/commands takes it; raises as `decode_frame` does."""
    command: Command = _typed(_command, raw)
    return command


def reference(raw: msgspec.Raw | bytes | str) -> str | None:
    """Return the client's id of a frame, as far as one can be made out."""
    try:
        ref = _envelope.decode(raw).id
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    return ref[:ECHO_CHARACTERS_MAX] if isinstance(ref, str) else None


def _typed(decoder: msgspec.json.Decoder[Any], raw: msgspec.Raw | bytes | str) -> Any:
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise _explained(raw, error) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadFrame("The frame is not valid JSON.") from error


def _explained(raw: msgspec.Raw | bytes | str, error: msgspec.ValidationError) -> InvalidInput:
    envelope = _decoded(_envelope, raw)
    if not isinstance(envelope.type, str):
        return UnknownType("")
    if envelope.type not in TYPES:
        return UnknownType(envelope.type)
    return InvalidInput("bad_message", f"{error}."[:200])


def _decoded(decoder: msgspec.json.Decoder[Any], text: Any) -> Any:
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadFrame("A frame is a JSON object, or an array of them.") from error
