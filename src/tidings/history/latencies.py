"""Latencies of delivery on their way from the server that has seen them to the cold tier."""

import asyncio

from tidings.domain.errors import Failure, Unavailable
from tidings.domain.ports import Clock
from tidings.domain.times import rfc3339
from tidings.health.levels import Cell, DeliveryLevels
from tidings.history.exporter import ExportPolicy
from tidings.storage.cold.port import ColdStore
from tidings.storage.cold.records import Batch, KeptLatency


class Latencies:
    """Brings what this server has counted; every server that has clients brings its own.

    What is not taken is kept in memory and brought again, and is counted once.
    """

    def __init__(
        self,
        store: ColdStore,
        levels: DeliveryLevels,
        server: str,
        clock: Clock,
        policy: ExportPolicy,
    ) -> None:
        self._store = store
        self._levels = levels
        self._server = server
        self._clock = clock
        self._policy = policy

    async def run(self) -> None:
        """Look again and again, for ever."""
        while True:
            await asyncio.sleep(self._policy.look_seconds)
            await self.turn()

    async def turn(self) -> None:
        """Bring all minutes that are over, once the oldest has waited long enough."""
        counts, now = self._levels.finished(), self._clock.now()
        oldest = next(iter(counts), None)
        if oldest is None or now - (oldest.minute + 1) * 60 < self._policy.wait_seconds:
            return
        records = tuple(_record(self._server, cell, count, now) for cell, count in counts.items())
        try:
            await self._store.insert(Batch(latencies=records))
        except (Unavailable, Failure):
            return  # the exporter tells of it
        self._levels.forget(counts)


def _record(server: str, cell: Cell, count: int, now: float) -> KeptLatency:
    day = rfc3339(cell.minute * 60.0)[:10]
    return KeptLatency(server, cell.minute, cell.what, cell.bucket, day, count, now)
