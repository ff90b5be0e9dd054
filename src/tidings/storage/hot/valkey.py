"""The hot tier on a server that speaks the protocol of Redis: Valkey, or Redis itself.

The server is neither trusted nor needed: messages are sealed, keys and channels do not say of whom
they are, and what the server does not do, each process does for itself.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from tidings.domain.errors import Unavailable
from tidings.domain.ports import Clock
from tidings.domain.tiers import TierHealth, TierState
from tidings.storage.hot.address import Address
from tidings.storage.hot.line import Line
from tidings.storage.hot.memory import LocalOnce, LocalRates
from tidings.storage.hot.seal import Seal
from tidings.storage.hot.shared import SharedOnce, SharedPrecedence, SharedRates
from tidings.storage.hot.travelling import Fate, TravellingHints

LOOK_SECONDS = 2.0

_DOWN = (
    "Events from other servers come by a look at the log, up to a second late; limits count for "
    "each server alone."
)
_DEAF = "Events from other servers come by a look at the log, up to a second late."
_REFUSED = "Limits count for each server alone, and a device may be connected twice."


class Valkey:
    """One server, and the ports it serves. `run` carries everything; without it all is local.

    `count` is called with what becomes of each note between processes.
    """

    def __init__(
        self,
        url: str,
        key: bytes,
        clock: Clock,
        rng: random.Random,
        count: Callable[[Fate], None],
    ) -> None:
        address, seal = Address(url), Seal(key)
        self._clock = clock
        self._line = Line(address, clock, partial(count, Fate.DROPPED))
        self.hints = TravellingHints(address, self._line, seal, clock, rng, count)
        self.once = SharedOnce(self._line, seal, LocalOnce(clock))
        self.rates = SharedRates(self._line, seal, LocalRates(clock))
        self.precedence = SharedPrecedence(self._line, seal)

    @property
    def name(self) -> str:
        """Which tier it is."""
        return "hot"

    async def run(self) -> None:
        """Keep the connections to the server, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._line.run())
            tasks.create_task(self.hints.run())
            tasks.create_task(self._look())

    async def _look(self) -> None:
        """See again and again that the server takes writes; if not, the line looks for another.

        One that was made a replica keeps its connections, and takes for itself alone what is
        published there.
        """
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with suppress(Unavailable):
                await self.precedence.claim("health")

    async def health(self) -> TierHealth:
        """Look whether it answers, does what it is asked, and tells what it hears."""
        began = self._clock.monotonic()
        try:
            await self._line.ask("PING")
        except Unavailable:
            fault = self._line.fault or "no answer"
            return TierHealth(self.name, TierState.DOWN, fault, None, _DOWN)
        seconds = self._clock.monotonic() - began
        try:
            await self.precedence.claim("health")
        except Unavailable:
            fault = self._line.fault or "no answer"
            return TierHealth(self.name, TierState.DEGRADED, fault, seconds, _REFUSED)
        if not self.hints.listening:
            detail = f"not subscribed: {self.hints.fault}"
            return TierHealth(self.name, TierState.DEGRADED, detail, seconds, _DEAF)
        return TierHealth(self.name, TierState.OK, "subscribed", seconds, "")
