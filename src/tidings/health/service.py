"""The look at everything: asked often, one look stands for a second."""

import asyncio
from collections.abc import Awaitable, Callable
from importlib.metadata import version

from tidings.domain.ports import Clock
from tidings.health.judgement import judge
from tidings.health.metrics import Metrics
from tidings.health.overview import Sections, ServerHealth

LOOK_KEPT_SECONDS = 1.0

Look = Callable[[], Awaitable[Sections]]
"""Looks at every section, in bounded time; what is away is a state, not an exception."""


class Health:
    """How this server is."""

    def __init__(self, look: Look, metrics: Metrics, clock: Clock) -> None:
        self._look = look
        self._metrics = metrics
        self._clock = clock
        self._begun_at = clock.monotonic()
        self._looking = asyncio.Lock()
        self._kept: tuple[float, ServerHealth] | None = None

    async def now(self) -> ServerHealth:
        """Return how it is, as it was found at most LOOK_KEPT_SECONDS ago."""
        async with self._looking:
            now = self._clock.monotonic()
            if self._kept is None or now - self._kept[0] >= LOOK_KEPT_SECONDS:
                self._kept = now, self._judged(await self._look(), now)
            return self._kept[1]

    def _judged(self, sections: Sections, now: float) -> ServerHealth:
        looked_at = self._clock.now()
        state, meaning, concerns = judge(sections, looked_at)
        self._metrics.nodes_seen((node.role, node.state) for node in sections.nodes)
        self._metrics.clock_ahead.set(sections.clock_ahead_seconds)
        self._metrics.concerns.clear()
        for concern in concerns:
            self._metrics.concerns.labels(concern.code, concern.state).set(1)
        return ServerHealth(
            state=state,
            meaning=meaning,
            concerns=concerns,
            version=version("tidings"),
            looked_at=looked_at,
            up_seconds=now - self._begun_at,
            sections=sections,
        )
