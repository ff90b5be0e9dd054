"""Pieces of an answer, joined: one event that stands for a range of offsets.

Pure. A joined event keeps every code point, and the length of each piece, so that a reader who has
some of the pieces is given the rest.
"""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import NamedTuple

import msgspec

from tidings.domain.events import Event, EventType

_PIECE = b'{"type":"' + EventType.ANSWER_DELTA.encode() + b'"'


class Entry(NamedTuple):
    """An event's frame, encoded once, and the offsets it stands for: `first` to `offset`."""

    offset: int
    frame: bytes
    first: int


def joined(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Join neighbouring pieces of one message; pass on everything else as it is."""
    run: list[Event] = []
    for entry in entries:
        piece = msgspec.json.decode(entry.frame, type=Event) if is_piece(entry.frame) else None
        if run and (piece is None or not _continue(run[-1], piece)):
            yield _entry(join(run))
            run = []
        if piece is None:
            yield entry
        else:
            run.append(piece)
    if run:
        yield _entry(join(run))


def is_piece(frame: bytes) -> bool:
    """Tell whether a frame is a piece of an answer, without reading it."""
    return frame.startswith(_PIECE)


def join(pieces: list[Event]) -> Event:
    """Return one event for neighbouring pieces of one message."""
    if len(pieces) == 1:
        return pieces[0]
    last = pieces[-1]
    lengths = [length for piece in pieces for length in _lengths(piece)]
    text = "".join(piece.payload["text"] for piece in pieces)
    return msgspec.structs.replace(
        last,
        first_offset=pieces[0].first,
        payload=last.payload | {"text": text, "lengths": lengths},
    )


def after(entry: Entry, offset: int) -> Entry:
    """Return what is left of an entry for a reader who has everything up to `offset`."""
    if entry.first > offset:
        return entry
    event = msgspec.json.decode(entry.frame, type=Event)
    had = offset - event.first + 1
    lengths = _lengths(event)
    text = event.payload["text"][list(accumulate(lengths))[had - 1] :]
    payload = event.payload | {"text": text, "lengths": lengths[had:]}
    return _entry(msgspec.structs.replace(event, first_offset=offset + 1, payload=payload))


def _continue(last: Event, piece: Event) -> bool:
    return (
        piece.run_id == last.run_id
        and piece.first == last.offset + 1
        and piece.payload["message_id"] == last.payload["message_id"]
    )


def _lengths(piece: Event) -> list[int]:
    return list(piece.payload.get("lengths") or (len(piece.payload["text"]),))


def _entry(event: Event) -> Entry:
    return Entry(event.offset, msgspec.json.encode(event), event.first)
