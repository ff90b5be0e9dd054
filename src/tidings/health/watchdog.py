"""The event loop, watched: how late it is, and where in the code it stands when it stands still."""

import asyncio
import logging
import sys
import threading
import traceback
from collections import deque

from tidings.domain.ports import Clock
from tidings.health.metrics import Metrics

BEAT_SECONDS = 0.1
BLOCKED_SECONDS = 1.0
LOOK_SECONDS = 0.25
LAGS_KEPT_MAX = 600
RECENT_LAGS_MAX = 10
FRAMES_TOLD_MAX = 12

_log = logging.getLogger(__name__)


class LoopWatch:
    """Beats on the event loop, and looks from a thread whether it still beats.

    A loop that has not beaten for BLOCKED_SECONDS is told of in the log, once, with the place in
    the code that holds it. When the thread was kept waiting as well, the whole process stood still
    (it was stopped, the machine has no time for it, or a call holds the interpreter): that is told
    too, and nobody is accused.
    """

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._lags: deque[float] = deque(maxlen=LAGS_KEPT_MAX)
        self._beaten_at = clock.monotonic()
        self._watched = 0
        self._over = threading.Event()
        self.last_block = ""
        self.blocks = 0

    @property
    def lag_seconds(self) -> float:
        """How late the loop is at present: the median of the last second's beats."""
        recent = sorted(list(self._lags)[-RECENT_LAGS_MAX:])
        return recent[len(recent) // 2] if recent else 0.0

    @property
    def lag_seconds_max(self) -> float:
        """How late it was at most, within the last LAGS_KEPT_MAX beats."""
        return max(self._lags, default=0.0)

    async def run(self) -> None:
        """Beat, for ever."""
        self._watched = threading.get_ident()
        self._over = threading.Event()
        self._beaten_at = self._clock.monotonic()
        watcher = threading.Thread(target=self._watch, name="loop-watch", daemon=True)
        watcher.start()
        try:
            while True:
                await asyncio.sleep(BEAT_SECONDS)
                self._beat()
        finally:
            self._over.set()

    def _beat(self) -> None:
        now = self._clock.monotonic()
        lag = max(0.0, now - self._beaten_at - BEAT_SECONDS)
        self._lags.append(lag)
        self._metrics.loop_lag.observe(lag)
        self._beaten_at = now

    def _watch(self) -> None:
        """Look from the thread; one stretch of standing still is told of once."""
        told_of, looked_at = 0.0, self._clock.monotonic()
        while not self._over.wait(LOOK_SECONDS):
            now, beaten_at = self._clock.monotonic(), self._beaten_at
            held_up = now - looked_at - LOOK_SECONDS
            looked_at = now
            if now - beaten_at < BLOCKED_SECONDS or told_of == beaten_at:
                continue
            told_of = beaten_at
            self._tell(now - beaten_at, stood_still=held_up >= BLOCKED_SECONDS)

    def _tell(self, seconds: float, *, stood_still: bool) -> None:
        if stood_still:
            _log.warning("the whole process stood still for %.1f s", seconds)
            return
        stack = self._stack()
        self.blocks += 1
        self.last_block = stack[-1] if stack else "unknown"
        self._metrics.loop_blocks.inc()
        _log.error(
            "the event loop is blocked for %.1f s, by: %s", seconds, " < ".join(reversed(stack))
        )

    def _stack(self) -> list[str]:
        """Return where the loop's thread is, outermost first, as `file:line function`."""
        frame = sys._current_frames().get(self._watched)  # noqa: SLF001 - there is no other way
        stack = traceback.extract_stack(frame) if frame is not None else []
        return [f"{f.filename}:{f.lineno} {f.name}" for f in stack[-FRAMES_TOLD_MAX:]]
