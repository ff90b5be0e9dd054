"""The real clock, the real source of ids, and the real name of this process."""

import os
import secrets
import socket
import threading
import time

from tidings.domain.ports import Clock

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32, as in github.com/ulid/spec
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_SHIFTS = range(120, -1, -10)
_SET_BACK = 1_000 << 80
"""A clock that is behind the last id by more than a second was set, and is believed."""
NAME_CHARACTERS_MAX = 64


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class UlidSource:
    """ULIDs: 48 bits of milliseconds, 80 random bits; sorted as text by the time of making."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last = 0

    def new(self, prefix: str) -> str:
        return f"{prefix}_{_base32(self._number())}"

    def _number(self) -> int:
        """Return a fresh 128-bit number, greater than those before it."""
        fresh = int(self._clock.now() * 1_000) << 80 | secrets.randbits(80)
        with self._lock:
            is_next = fresh > self._last or fresh < self._last - _SET_BACK
            self._last = fresh if is_next else self._last + 1 + secrets.randbits(32)
            return self._last


def process_name() -> str:
    """Return what people find this process by: its machine and its number there."""
    return f"{socket.gethostname()[:NAME_CHARACTERS_MAX]}:{os.getpid()}"


def _base32(number: int) -> str:
    """Write 130 bits as 26 digits, two at a time."""
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
