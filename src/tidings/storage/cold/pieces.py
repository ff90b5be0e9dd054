"""Records cut into what an engine takes at once: JSON lines of one table, within bounds."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from tidings.storage.cold.records import ColdTable, Record

PIECE_BYTES_MAX = 16 << 20


@dataclass(slots=True)
class Piece:
    """Records of a day, or of any day, as lines; one that is too large has a piece for itself."""

    day: str
    records: list[Record] = field(default_factory=list)
    encoded: list[bytes] = field(default_factory=list)
    size: int = 0

    def name(self, table: ColdTable) -> str:
        """Return a name that follows from which records these are: a repeat has the same."""
        keys = [tuple(getattr(record, column) for column in table.key) for record in self.records]
        return hashlib.sha256(msgspec.json.encode(keys)).hexdigest()[:32]

    def lines(self) -> bytes:
        """Return the records as JSON lines."""
        return b"\n".join(self.encoded) + b"\n"


def pieces(records: Sequence[Record], *, by_day: bool) -> Iterator[Piece]:
    """Yield the records in pieces of PIECE_BYTES_MAX, in their order, each of one day if asked."""
    piece = Piece("")
    ordered = sorted(records, key=lambda record: record.day) if by_day else records
    for record in ordered:
        line = msgspec.json.encode(record)
        day = record.day if by_day else ""
        is_full = piece.size + len(line) > PIECE_BYTES_MAX
        if piece.records and (day != piece.day or is_full):
            yield piece
            piece = Piece(day)
        piece.day = day
        piece.records.append(record)
        piece.encoded.append(line)
        piece.size += len(line) + 1
    if piece.records:
        yield piece
