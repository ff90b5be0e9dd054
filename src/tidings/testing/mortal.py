"""A store that dies with its process, and a clock that stands still."""

import asyncio

from tidings.domain.context import Scope, UserContext
from tidings.storage.warm.port import Database, T, Work


class FixedClock:
    """Stands where it was set; it may be moved."""

    def __init__(self, time: float = 1_700_000_000.0) -> None:
        self.time = time

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


class MortalStore:
    """A database that dies with its process at one of the user's writes; the dead do no more."""

    def __init__(self, at: int = 0, *, after: bool = False) -> None:
        self.died = asyncio.Event()
        self.counting = False
        self._at = at
        self._after = after
        self._writes = 0
        self._inner: Database | None = None

    def around(self, inner: Database) -> Database:
        """Stand before a database."""
        self._inner = inner
        return self

    async def write(self, scope: Scope, work: Work[T]) -> T:
        self._check()
        if self.counting and isinstance(scope, UserContext):
            self._writes += 1
            if self._writes == self._at:
                if self._after:
                    await self._there.write(scope, work)
                self.died.set()
                self._check()
        return await self._there.write(scope, work)

    async def read(self, scope: Scope, work: Work[T]) -> T:
        self._check()
        return await self._there.read(scope, work)

    def _check(self) -> None:
        if self.died.is_set():
            raise asyncio.CancelledError

    @property
    def _there(self) -> Database:
        assert self._inner is not None  # noqa: S101 - `around` comes first
        return self._inner
