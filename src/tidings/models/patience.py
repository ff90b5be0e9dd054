"""The time limits of one request to a model: one clock, moved on by every sign of life."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from tidings.models.faults import Blame, TimeLimit, timed_out

BLAME_SECONDS_MIN = 10.0
"""A provider is blamed for a limit that the run's remaining time cut to less than its own only if
the provider still had this long."""


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """How long a model may be silent, in seconds; the whole is bounded by the request's own time.

    `connect` is kept by the HTTP client, under the other two.
    """

    connect: float = 5.0
    first_byte: float = 30.0
    gap: float = 60.0


TIME_LIMITS = TimeLimits()


class Pulse:
    """The signs of life of the request that is under way in this task."""

    def __init__(self, timer: asyncio.Timeout, limits: TimeLimits, first: float, end: float):
        self._timer = timer
        self._loop = asyncio.get_running_loop()
        self._gap = limits.gap
        self._end = end
        self.allowed = min(first, end - self._loop.time())
        self.full = limits.first_byte
        self.limit = TimeLimit.FIRST_BYTE if first == self.allowed else TimeLimit.TOTAL

    def beat(self) -> None:
        """Take note that something came: the model may be silent anew."""
        if self._timer.expired():
            return
        now = self._loop.time()
        left = self._end - now
        self.full = self._gap
        self.allowed = min(self._gap, left)
        self.limit = TimeLimit.STALLED if self._gap <= left else TimeLimit.TOTAL
        self._timer.reschedule(now + self.allowed)


_pulse: ContextVar[Pulse | None] = ContextVar("pulse", default=None)


def beat() -> None:
    """Take note, from wherever bytes or pieces arrive, that the request under way is alive."""
    if pulse := _pulse.get():
        pulse.beat()


@asynccontextmanager
async def patience(
    model: str, limits: TimeLimits, *, first_byte: float, total: float
) -> AsyncIterator[None]:
    """Bound a request: `first_byte` seconds until its first sign of life, `total` for all of it.

    Raises:
        ModelFault: `model_timeout`, naming the limit. It blames the provider unless the limit was
            cut short by the time that remained.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    end = began + total
    timer = asyncio.timeout_at(min(end, began + first_byte))
    pulse = Pulse(timer, limits, first_byte, end)
    token = _pulse.set(pulse)
    try:
        async with timer:
            yield
    except TimeoutError as error:
        if not timer.expired():
            raise
        whole = pulse.limit is TimeLimit.TOTAL
        fair = pulse.allowed >= min(pulse.full, BLAME_SECONDS_MIN)
        blame = Blame.PROVIDER if fair else Blame.NOBODY
        seconds = total if whole else pulse.allowed
        raise timed_out(model, pulse.limit, seconds, blame) from error
    finally:
        _pulse.reset(token)
