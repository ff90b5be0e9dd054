"""Ports that misbehave as their promises allow: hints that get lost, a store that is slow."""

import asyncio
import random

from tidings.domain.context import Scope
from tidings.events.log import Appended
from tidings.storage.hot.memory import LocalHints
from tidings.storage.warm.port import Database, T, Work


class SpoiltHints(LocalHints):
    """Loses, doubles, delays and so reorders the notes of appended events."""

    def __init__(self, *, lost: float, doubled: float = 0.0, late_seconds: float = 0.0) -> None:
        super().__init__()
        self.delivered = 0
        self.lost = lost
        self._doubled = doubled
        self._late = late_seconds
        self._rng = random.Random(7)

    def publish(self, note: object) -> None:
        if not isinstance(note, Appended):
            super().publish(note)
            return
        if self._rng.random() < self.lost:
            return
        for _ in range(2 if self._rng.random() < self._doubled else 1):
            if self._late:
                late = self._rng.uniform(0, self._late)
                asyncio.get_running_loop().call_later(late, self._deliver, note)
            else:
                self._deliver(note)

    def _deliver(self, note: object) -> None:
        self.delivered += 1
        super().publish(note)


class SlowDatabase:
    """Takes `seconds` more for each commit, and counts what is read."""

    def __init__(self, inner: Database) -> None:
        self.seconds = 0.0
        self.reads = 0
        self._inner = inner
        self._turn = asyncio.Lock()

    async def write(self, scope: Scope, work: Work[T]) -> T:
        if not self.seconds:
            return await self._inner.write(scope, work)
        async with self._turn:  # a disk syncs one commit after the other
            await asyncio.sleep(self.seconds)
            return await self._inner.write(scope, work)

    async def read(self, scope: Scope, work: Work[T]) -> T:
        self.reads += 1
        return await self._inner.read(scope, work)
