"""One event at a time of a connection: how long from its append to the socket, and to its word."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from tidings.domain.levels import APPEND_TO_SEND, SEND_TO_ACK
from tidings.domain.ports import Clock
from tidings.events.ranges import Entry
from tidings.health.levels import DeliveryLevels

SAMPLE_SECONDS = 1.0
"""No more often is an event of a connection looked at."""
UNANSWERED_SECONDS = 60.0
"""An event that is not acknowledged for so long makes room for another; it counts as sent."""


class DeliverySample:
    """Looks at what is sent to a client that is up to date; `now` is monotonic."""

    def __init__(self, levels: DeliveryLevels, clock: Clock) -> None:
        self._levels = levels
        self._clock = clock
        self._stream = ""
        self._offset = 0
        self._sent_at = float("-inf")

    def sent(self, stream: str, entries: list[Entry], now: float) -> None:
        """Hear of entries that were just sent."""
        if now - self._sent_at < (UNANSWERED_SECONDS if self._offset else SAMPLE_SECONDS):
            return
        entry = entries[0]
        self._stream, self._offset, self._sent_at = stream, entry.offset, now
        appended_at = _appended.decode(entry.frame).timestamp.timestamp()
        self._levels.saw(APPEND_TO_SEND, self._clock.now() - appended_at)

    def acknowledged(self, positions: Mapping[str, int], now: float) -> None:
        """Hear of what the client says that it has applied."""
        if self._offset and positions.get(self._stream, 0) >= self._offset:
            self._levels.saw(SEND_TO_ACK, now - self._sent_at)
            self._offset = 0


class _Appended(msgspec.Struct):
    timestamp: datetime


_appended = msgspec.json.Decoder(_Appended)
