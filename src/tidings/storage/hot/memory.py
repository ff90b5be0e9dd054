"""Embedded hot tier: the listeners are in this process."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

from tidings.domain.errors import Unavailable
from tidings.domain.ports import Clock

MAX_TICKETS = 100_000

N = TypeVar("N")


class LocalHints:
    """Calls listeners directly, in the order they asked."""

    def __init__(self) -> None:
        self._listeners: defaultdict[type, list[Callable[[Any], None]]] = defaultdict(list)

    def publish(self, note: object) -> None:
        for listener in self._listeners[type(note)]:
            listener(note)

    def listen(self, kind: type[N], listener: Callable[[N], None]) -> None:
        self._listeners[kind].append(listener)


class MemoryTickets:
    """Tickets in a dictionary, oldest first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[float, bytes]] = {}

    async def put(self, key: str, value: bytes, ttl_seconds: float) -> None:
        self._forget_expired()
        if len(self._kept) >= MAX_TICKETS:
            raise Unavailable("tickets_full", "Too many tickets are out. Try again in a moment.")
        self._kept[key] = (self._clock.monotonic() + ttl_seconds, value)

    async def take(self, key: str) -> bytes | None:
        expires_at, value = self._kept.pop(key, (0.0, None))
        return value if self._clock.monotonic() < expires_at else None

    def _forget_expired(self) -> None:
        """Drop from the old end; tickets of one lifetime expire in the order they were put."""
        now = self._clock.monotonic()
        while self._kept:
            oldest = next(iter(self._kept))
            if now < self._kept[oldest][0]:
                return
            del self._kept[oldest]
