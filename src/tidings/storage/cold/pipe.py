"""What the server and the child that holds its Parquet files say to each other, one at a time."""

import struct
from typing import Any, BinaryIO

import msgspec

PREFIX = struct.Struct(">I")
PIPED_BYTES_MAX = 64 << 20


class KeepPart(msgspec.Struct, frozen=True, tag="put"):
    """Keep rows, JSON lines of a table and a day, as the part of this name."""

    table: str
    day: str
    name: str
    rows: bytes


class AskFiles(msgspec.Struct, frozen=True, tag="ask"):
    """Answer a question of `storage.cold.questions`, over the days from `first` to `last`."""

    sql: str
    values: dict[str, str | int | float]
    first: str = ""
    last: str = "9999"


class EraseThreads(msgspec.Struct, frozen=True, tag="erase"):
    """Remove threads, given as user and thread, or users, without a thread, with what is theirs."""

    threads: list[tuple[str, str | None]]


class ForgetDays(msgspec.Struct, frozen=True, tag="forget"):
    """Remove the events of all days before a day."""

    before: str


class JoinParts(msgspec.Struct, frozen=True, tag="tidy"):
    """Make one part of many where there are too many."""


class FilesAnswer(msgspec.Struct, frozen=True, tag="answer"):
    """It is done; the rows that were asked for."""

    rows: list[list[Any]] = []


class FilesRefusal(msgspec.Struct, frozen=True, tag="refusal"):
    """It is not done; `final` means that it never will be."""

    message: str
    final: bool


Request = KeepPart | AskFiles | EraseThreads | ForgetDays | JoinParts
Reply = FilesAnswer | FilesRefusal

requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
replies: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)


def packed(frame: Request | Reply) -> bytes:
    """Return a frame as it stands on the pipe."""
    body = msgspec.msgpack.encode(frame)
    return PREFIX.pack(len(body)) + body


def next_request(source: BinaryIO) -> Request | None:
    """Wait for the next request; None: there will be none."""
    head = source.read(PREFIX.size)
    if len(head) < PREFIX.size:
        return None
    (size,) = PREFIX.unpack(head)
    body = source.read(size)
    return requests.decode(body) if len(body) == size else None
