"""One time for all who work on one store: the store's, whatever the clocks of their machines say.

See docs/decisions/0072.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tidings.domain.errors import Unavailable
from tidings.domain.ports import Clock

SET_SECONDS = 5.0

AskTime = Callable[[], Awaitable[float]]
"""Asks the store for its time, in seconds since 1970 UTC; raises Unavailable where it is away."""


class StoreClock:
    """The store's time since the store has told it; the machine's own where no store does.

    From one answer to the next it goes on by the seconds that only grow: that the machine's clock
    is set right, or wrong, moves nothing here.
    """

    def __init__(self, own: Clock) -> None:
        self._own = own
        self._zero: float | None = None
        """What time it was at the store when `monotonic` was 0."""
        self._told = asyncio.Event()

    def now(self) -> float:
        return self._own.now() if self._zero is None else self._zero + self._own.monotonic()

    def monotonic(self) -> float:
        return self._own.monotonic()

    @property
    def ahead_seconds(self) -> float:
        """How far the machine's own clock is ahead of the store's; less than 0 is behind."""
        return 0.0 if self._zero is None else self._own.now() - self.now()

    async def set_by(self, ask: AskTime) -> None:
        """Ask the store once, and be set right where that shows that it is wrong.

        The store has answered at some moment between the question and its answer: a time that may
        be right stays, so that a process which stood still meanwhile is not led astray.

        Raises:
            Unavailable: it does not say.
        """
        asked = self._own.monotonic()
        told = await ask()
        answered = self._own.monotonic()
        known = self._own.now() - answered if self._zero is None else self._zero
        may_be = told - answered <= known <= told - asked
        self._zero = known if may_be else told - (asked + answered) / 2
        self._told.set()

    async def told(self) -> None:
        """Wait until the store has told its time once."""
        await self._told.wait()

    async def keep(self, ask: AskTime) -> None:
        """Be set for ever; while the store is away the seconds are counted from its last word."""
        while True:
            await asyncio.sleep(SET_SECONDS)
            with suppress(Unavailable):
                await self.set_by(ask)
