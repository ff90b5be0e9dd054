"""What parent and child say to each other: length-prefixed MessagePack."""

import struct
from typing import Any

import msgspec

from tidings.analysis.importing.report import ImportReport

PREFIX = struct.Struct(">I")
FRAME_BYTES_MAX = 64 << 20


class Open(msgspec.Struct, frozen=True, tag="open"):
    """Serve queries over these data set files, named relative to the working directory."""

    files: tuple[str, ...]
    memory_bytes: int
    address_space_bytes: int
    threads: int


class Query(msgspec.Struct, frozen=True, tag="query"):
    """Run one statement; `parameters` fill its `$name` places."""

    sql: str
    parameters: dict[str, Any]
    rows_max: int
    bytes_max: int
    cpu_seconds: int


class Import(msgspec.Struct, frozen=True, tag="import"):
    """Read `source` (uploaded as `name`) and write `target`, a new data set file."""

    source: str
    name: str
    target: str
    scratch: str
    expanded_bytes_max: int
    memory_bytes: int
    address_space_bytes: int
    threads: int


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The child is confined and its data are open; `confinement` says by what."""

    confinement: dict[str, bool]


class Rows(msgspec.Struct, frozen=True, tag="rows"):
    """What a statement gave, cut to the caller's bounds."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: tuple[tuple[int | float | str | bool | None, ...], ...]
    truncated: bool


class Imported(msgspec.Struct, frozen=True, tag="imported"):
    """The data set file is written."""

    report: ImportReport


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """It was not done; `code` and `message` are for the user."""

    code: str
    message: str


Request = Open | Query | Import
Reply = Ready | Rows | Imported | Refused


def pack(frame: Request | Reply) -> bytes:
    """Return the frame as it stands on the pipe."""
    body = msgspec.msgpack.encode(frame)
    return PREFIX.pack(len(body)) + body


def unpack_request(body: bytes) -> Request:
    """Return the request in a frame's body."""
    return _requests.decode(body)


def unpack_reply(body: bytes) -> Reply:
    """Return the reply in a frame's body.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return _replies.decode(body)


_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_replies: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)
