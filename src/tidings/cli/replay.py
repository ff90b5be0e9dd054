"""`tidings replay`: what a run or a thread has told, again, at a pace of one's choosing."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime

import msgspec

from tidings.domain.errors import InvalidInput
from tidings.domain.events import TERMINAL, Event

BETWEEN_RUNS_SECONDS_MAX = 2.0
FACTOR_MAX = 10_000.0
_PACES = {"fast": 0.0, "original": 1.0}

Sleep = Callable[[float], Awaitable[None]]


def factor_of(pace: str) -> float:
    """Return by what the original waits are divided; 0: there are none.

    Raises:
        InvalidInput: `bad_pace`.
    """
    try:
        factor = _PACES[pace] if pace in _PACES else float(pace)
    except ValueError:
        factor = -1.0
    if pace not in _PACES and not 0 < factor <= FACTOR_MAX:
        raise InvalidInput(
            "bad_pace", "A pace is `original`, `fast` or a factor, such as 4 or 0.5."
        )
    return factor


def timed(frames: list[bytes], factor: float) -> Iterator[tuple[float, bytes]]:
    """Yield each frame with the seconds to wait before it, from the events' timestamps.

    Between two runs of a thread the wait is BETWEEN_RUNS_SECONDS_MAX at most.
    """
    before: Event | None = None
    for frame in frames:
        event = msgspec.json.decode(frame, type=Event)
        wait = 0.0
        if before is not None and factor:
            wait = max(0.0, _seconds(event) - _seconds(before)) / factor
            if before.type in TERMINAL:
                wait = min(wait, BETWEEN_RUNS_SECONDS_MAX)
        before = event
        yield wait, frame


async def play(
    frames: list[bytes], factor: float, show: Callable[[bytes], None], sleep: Sleep = asyncio.sleep
) -> None:
    """Show every frame when it is due; say on stderr how far it has come when it is cut short."""
    waits = list(timed(frames, factor))
    shown, total = 0, sum(wait for wait, _ in waits)
    if total:
        sys.stderr.write(f"replaying {len(frames)} events in {total:.1f} s; Ctrl-C stops\n")
    try:
        for wait, frame in waits:
            if wait:
                await sleep(wait)
            show(frame)
            shown += 1
    except asyncio.CancelledError:
        sys.stderr.write(f"\nstopped after {shown} of {len(frames)} events\n")
        raise


def _seconds(event: Event) -> float:
    return datetime.fromisoformat(event.timestamp).timestamp()
