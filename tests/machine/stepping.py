"""An event loop that only moves when it is told to: no selector, no threads, virtual time.

The real asyncio tasks, events and timers run on it. What happens between two steps is a function of
what was put in, so that a seed replays a run.
"""

import asyncio
import heapq
import types
from asyncio import events as loops
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")
CALLBACKS_MAX = 200_000


class SteppingLoop(asyncio.AbstractEventLoop):
    """Runs what is ready, first in first out, until nothing is."""

    def __init__(self) -> None:
        self.failures: list[dict[str, Any]] = []
        self._now = 0.0
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[asyncio.TimerHandle] = []

    def settle(self) -> None:
        """Run until everything waits for the outside or for time."""
        loops._set_running_loop(self)
        try:
            for _ in range(CALLBACKS_MAX):
                if not self._ready:
                    return
                handle = self._ready.popleft()
                if not handle._cancelled:
                    handle._run()
        finally:
            loops._set_running_loop(None)
        raise AssertionError("something runs for ever without waiting")

    def advance(self, seconds: float) -> None:
        """Let time pass, and what was waiting for it happen in its order."""
        until = self._now + seconds
        self.settle()
        while self._timers and self._timers[0].when() <= until:
            timer = heapq.heappop(self._timers)
            if not timer._cancelled:
                self._now = max(self._now, timer.when())
                self._ready.append(timer)
                self.settle()
        self._now = until

    def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of something that only needs the loop to run, not time."""
        task = self.create_task(work)
        self.settle()
        return task.result()

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def time(self) -> float:
        return self._now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, timer)
        return timer

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> "asyncio.Task[T]":
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.failures.append(context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer is passed over when its time comes."""


@types.coroutine
def tick() -> Generator[None, None, None]:
    """Let everything else that is ready run once."""
    yield


def stepping_loop() -> SteppingLoop:
    """Return a new loop."""
    return SteppingLoop()  # type: ignore[abstract]
