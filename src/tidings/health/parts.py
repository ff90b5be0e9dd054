"""The parts of the server that always run: one that crashes is begun again, but not for ever."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from tidings.domain.errors import Unavailable
from tidings.domain.ports import Clock
from tidings.health.metrics import Metrics
from tidings.health.probes import Probe

RESTARTS_MAX = 5
RESTARTS_WITHIN_SECONDS = 60.0
RESTART_PAUSE_SECONDS = 0.1
SHAKEN_SECONDS = 10.0
"""How long after a crash a part counts as not well."""

Part = Callable[[], Coroutine[Any, Any, None]]
"""Something that goes on for as long as the server runs."""

_log = logging.getLogger(__name__)


class Parts:
    """Keeps parts running: RESTARTS_MAX crashes of one within RESTARTS_WITHIN_SECONDS are too many.

    Then the crash is passed on, and with it the process ends: whoever runs the server begins it
    anew, from what is on disk.
    """

    def __init__(self, parts: dict[str, Part], clock: Clock, metrics: Metrics) -> None:
        self._parts = parts
        self._clock = clock
        self._metrics = metrics
        self._crashes: dict[str, deque[float]] = {
            name: deque(maxlen=RESTARTS_MAX + 1) for name in parts
        }

    async def run(self) -> None:
        """Run all parts, for ever.

        Raises:
            ExceptionGroup: one of them crashes too often.
        """
        async with asyncio.TaskGroup() as tasks:
            for name, part in self._parts.items():
                tasks.create_task(self._keep(name, part), name=name)

    def probe(self) -> Probe:
        """Return a probe that is not well for a while after a part has crashed."""

        async def check() -> str:
            now = self._clock.monotonic()
            shaken = [
                name
                for name, crashes in self._crashes.items()
                if crashes and now - crashes[-1] < SHAKEN_SECONDS
            ]
            if shaken:
                raise Unavailable("part_crashed", f"Begun again: {', '.join(shaken)}.")
            return f"{len(self._parts)} parts run"

        return Probe("parts", check)

    async def _keep(self, name: str, part: Part) -> None:
        while True:
            try:
                await part()
            except Exception:
                self._metrics.part_restarts.labels(name).inc()
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
