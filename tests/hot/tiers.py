"""The hot tier as processes hold it: in memory, or on a real server, one or several of them."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.faults.devices import eventually
from tidings.domain.ports import Clock
from tidings.storage.hot.memory import LocalHints, LocalOnce, LocalPrecedence, LocalRates
from tidings.storage.hot.valkey import Valkey
from tidings.storage.notes import FleetNote, UserNote
from tidings.system import SystemClock

KEY = b"k" * 32


class Told(UserNote, frozen=True):
    """A test's note about a user."""

    number: int
    ballast: bytes = b""

    def brief(self) -> "Told":
        return Told(self.user_id, self.number)


class Called(FleetNote, frozen=True):
    """A test's note for everybody."""

    number: int


class InMemory:
    """The embedded tier."""

    def __init__(self) -> None:
        clock = SystemClock()
        self.hints = LocalHints()
        self.once = LocalOnce(clock)
        self.rates = LocalRates(clock)
        self.precedence = LocalPrecedence()


HotTier = InMemory | Valkey


@asynccontextmanager
async def on_server(
    url: str,
    *,
    key: bytes = KEY,
    clock: Clock | None = None,
    ready: bool = True,
    fates: Counter[str] | None = None,
) -> AsyncIterator[Valkey]:
    """Have one process's tier at a server around the block, listening if it is `ready`.

    `fates` counts what becomes of notes.
    """
    counted: Counter[str] = Counter() if fates is None else fates
    tier = Valkey(
        url, key, clock or SystemClock(), random.Random(7), lambda fate: counted.update([fate])
    )
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(tier.run())
        try:
            if ready:
                await eventually(lambda: tier.hints.listening)
            yield tier
        finally:
            running.cancel()
