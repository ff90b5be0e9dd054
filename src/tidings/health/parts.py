"""The parts of the server that always run: one that crashes is begun again, but not for ever."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from tidings.domain.ports import Clock
from tidings.health.metrics import Metrics
from tidings.health.overview import PartHealth

RESTARTS_MAX = 5
RESTARTS_WITHIN_SECONDS = 60.0
RESTART_PAUSE_SECONDS = 0.1
SHAKEN_SECONDS = 10.0
"""How long after a crash a part counts as not well."""

Part = Callable[[], Coroutine[Any, Any, None]]
"""Something that goes on for as long as the server runs."""

_log = logging.getLogger(__name__)


class Parts:
    """Keeps parts running; one that crashes more than RESTARTS_MAX times of late is given up.

    Of late is within RESTARTS_WITHIN_SECONDS. The crash is passed on, and with it the process ends:
    whoever runs the server begins it anew, from what is on disk.
    """

    def __init__(self, parts: dict[str, Part], clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._parts: dict[str, Part] = {}
        self._crashes: dict[str, deque[float]] = {}
        self._restarts: dict[str, int] = {}
        for name, part in parts.items():
            self.add(name, part)

    def add(self, name: str, part: Part) -> None:
        """Keep one more, from the next `run` on."""
        self._parts[name] = part
        self._crashes[name] = deque(maxlen=RESTARTS_MAX + 1)
        self._restarts[name] = 0

    async def run(self) -> None:
        """Run all parts, for ever.

        Raises:
            ExceptionGroup: one of them crashes too often.
        """
        async with asyncio.TaskGroup() as tasks:
            for name, part in self._parts.items():
                tasks.create_task(self._keep(name, part), name=name)

    def health(self) -> tuple[PartHealth, ...]:
        """Return how each part does; a crash says that it was begun again."""
        now = self._clock.monotonic()
        return tuple(
            PartHealth(name, self._restarts[name], now - crashes[-1] if crashes else None)
            for name, crashes in self._crashes.items()
        )

    async def _keep(self, name: str, part: Part) -> None:
        while True:
            try:
                await part()
            except Exception:
                self._metrics.part_restarts.labels(name).inc()
                self._restarts[name] += 1
                if self._too_many(self._crashes[name]):
                    _log.critical("%s crashes again and again; the server ends", name)
                    raise
                _log.exception("%s has crashed and is begun again", name)
                await asyncio.sleep(RESTART_PAUSE_SECONDS)
            else:
                return

    def _too_many(self, crashes: deque[float]) -> bool:
        """Note a crash; return whether there were too many of late."""
        now = self._clock.monotonic()
        crashes.append(now)
        recent = sum(now - crash <= RESTARTS_WITHIN_SECONDS for crash in crashes)
        return recent > RESTARTS_MAX
