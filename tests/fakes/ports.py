"""Fakes of the small ports: a clock that is moved by hand, ids that count, a store that fails."""

from collections.abc import Callable
from itertools import count

from tidings.domain.context import Scope
from tidings.domain.errors import Unavailable
from tidings.storage.warm.port import Database, T, Work


class ManualClock:
    """Stands still until it is moved."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self.time = start

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += seconds


class CountingIds:
    """Ids that count up; the last characters differ, as those of real ones do."""

    def __init__(self, seed: str = "") -> None:
        self._numbers = count(1)
        self._seed = seed

    def new(self, prefix: str) -> str:
        return f"{prefix}_{self._seed}{next(self._numbers):010d}"


class FaultyDatabase:
    """Passes everything on, and fails the writes that `fails` picks, before or after the commit.

    A commit whose reply is lost is the harder half: the caller sees a failure, the store has it.
    """

    def __init__(self, inner: Database, fails: Callable[[int], bool], *, after: bool) -> None:
        self.inner = inner
        self.writes = 0
        self._fails = fails
        self._after = after

    async def write(self, scope: Scope, work: Work[T]) -> T:
        self.writes += 1
        failing = self._fails(self.writes)
        if failing and not self._after:
            raise Unavailable("storage_unavailable", "Injected: not written.")
        result = await self.inner.write(scope, work)
        if failing:
            raise Unavailable("storage_unavailable", "Injected: written, but the reply is lost.")
        return result

    async def read(self, scope: Scope, work: Work[T]) -> T:
        return await self.inner.read(scope, work)
