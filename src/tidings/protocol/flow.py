"""Flow control of one connection: what was sent and is not acknowledged, against the window."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

from tidings.protocol.frames import Window

WINDOW_EVENTS = (16, 4096)
WINDOW_BYTES = (16 * 1024, 4 * 1024 * 1024)


@dataclass(slots=True)
class Sent:
    """What went out on a stream and is not acknowledged yet: offsets with their sizes."""

    last: int = 0
    unacked: list[tuple[int, int]] = field(default_factory=list)


class Flow:
    """Counts events and bytes over all streams; without acknowledgements nothing is owed."""

    def __init__(self, now: float) -> None:
        self.window = Window()
        self.acknowledged = True
        self._sent: dict[str, Sent] = {}
        self._reached: dict[str, int] = {}
        self._events = 0
        self._bytes = 0
        self._progress = now

    def open(self, window: Window) -> None:
        """Use the client's window, held to what the server allows."""
        self.window = Window(
            min(max(window.events, WINDOW_EVENTS[0]), WINDOW_EVENTS[1]),
            min(max(window.bytes, WINDOW_BYTES[0]), WINDOW_BYTES[1]),
        )

    @property
    def owed(self) -> int:
        """How many events are unacknowledged."""
        return self._events

    def unbounded(self) -> None:
        """Expect no acknowledgements: the window of this client is its socket."""
        self.acknowledged = False

    def follows(self, stream: str) -> bool:
        """Return whether a stream is followed."""
        return stream in self._sent

    def follow(self, stream: str, after: int) -> None:
        """Begin a stream, or begin it anew, for a client that has everything up to `after`."""
        self.forget(stream)
        self._sent[stream] = Sent(after)

    def forget(self, stream: str) -> None:
        """Drop a stream with what is unacknowledged of it."""
        sent = self._sent.pop(stream, None)
        if sent is not None:
            self._events -= len(sent.unacked)
            self._bytes -= sum(size for _, size in sent.unacked)

    def credit(self) -> int:
        """Return how many events may be sent now."""
        if not self.acknowledged:
            return self.window.events
        return self.window.events - self._events if self._bytes < self.window.bytes else 0

    def room(self) -> int:
        """Return how many bytes of events may be sent now; one event may always go beyond it."""
        return self.window.bytes - (self._bytes if self.acknowledged else 0)

    def send(self, stream: str, sizes: list[tuple[int, int]], now: float) -> None:
        """Take note of what goes out: offsets with their sizes in bytes."""
        sent = self._sent[stream]
        sent.last = sizes[-1][0]
        self._reached[stream] = max(sent.last, self._reached.get(stream, 0))
        if not self.acknowledged:
            return
        if not self._events:
            self._progress = now
        sent.unacked.extend(sizes)
        self._events += len(sizes)
        self._bytes += sum(size for _, size in sizes)

    def acknowledge(self, positions: Mapping[str, int], now: float) -> dict[str, int] | None:
        """Return what is news of followed streams, or None when it claims what was never sent.

        What went out before a stream was begun anew may be acknowledged afterwards: it was on its
        way.
        """
        known = {s: offset for s, offset in positions.items() if s in self._sent and offset > 0}
        for stream, offset in known.items():
            sent = self._sent[stream]
            if offset > max(sent.last, self._reached.get(stream, 0)):
                return None
            applied = bisect_right(sent.unacked, offset, key=_offset)
            if applied:
                self._events -= applied
                self._bytes -= sum(size for _, size in sent.unacked[:applied])
                self._progress = now
                del sent.unacked[:applied]
        return known

    def stalled(self, now: float, seconds: float) -> bool:
        """Return whether something is owed and nothing was acknowledged for so long."""
        return self._events > 0 and now - self._progress >= seconds


def _offset(sent: tuple[int, int]) -> int:
    return sent[0]
