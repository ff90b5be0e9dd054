"""The proof of completeness: what a run's terminal event says about the events before it."""

from zlib import crc32

import msgspec

from tidings.domain.events import CRITICAL, TERMINAL

PROVEN = frozenset(str(type_) for type_ in CRITICAL - TERMINAL)
"""The types that a proof counts: what is critical, but for the end that carries the proof."""


class Proof(msgspec.Struct, frozen=True):
    """How many critical events a run had, and a rolling digest of them: CRC-32 as in zlib, in hex.

    It finds what a defect has lost, doubled or moved; it does not protect from a forger.
    """

    count: int = 0
    digest: str = "00000000"

    def with_event(self, offset: int, event_id: str, type_: str) -> "Proof":
        """Return the proof that includes this event, if its type is one that counts."""
        if type_ not in PROVEN:
            return self
        line = f"{offset} {event_id} {type_}\n".encode()
        return Proof(self.count + 1, f"{crc32(line, int(self.digest, 16)):08x}")
