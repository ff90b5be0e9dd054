"""A cursor: where a client is in a stream, with proof that it is the same stream."""

import re

import msgspec

from tidings.domain.errors import InvalidInput

TAIL_LENGTH = 8
FROM_START = "0"
FROM_HEAD = "live"
"""Where a client may begin that has no cursor."""
_CURSOR = re.compile(r"([0-9a-z]{1,16})\.(0|[1-9][0-9]{0,17})\.([0-9A-Za-z_]{8})", re.ASCII)


class Cursor(msgspec.Struct, frozen=True):
    """The last applied event: lineage of the store, offset, and the tail of the event's id."""

    epoch: str
    offset: int
    tail: str

    def __str__(self) -> str:
        return f"{self.epoch}.{self.offset}.{self.tail}"


def cursor_of(epoch: str, offset: int, event_id: str) -> Cursor:
    """Return the cursor of a client that has applied this event."""
    return Cursor(epoch, offset, event_id[-TAIL_LENGTH:])


def parse_cursor(text: str) -> Cursor:
    """Read a cursor as a client sent it.

    Raises:
        InvalidInput: `cursor_invalid`.
    """
    match = _CURSOR.fullmatch(text)
    if match is None:
        message = "This cursor is not one that the server gave."
        raise InvalidInput("cursor_invalid", message, status=400)
    return Cursor(match[1], int(match[2]), match[3])
