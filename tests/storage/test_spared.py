"""A store that keeps failing is left alone and tried again; one user's failures are not its own."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.fakes.ports import ManualClock
from tests.stores import store_in
from tests.world import ANA, BOB
from tidings.domain.context import SERVER, Scope
from tidings.domain.errors import Conflict, Unavailable, Undecided
from tidings.domain.tiers import TierState
from tidings.events import log
from tidings.resilience.breaker import BreakerState
from tidings.storage.warm.port import Database, Transaction, Work
from tidings.storage.warm.spared import SLOW_SECONDS, STORE_RULES, SparedDatabase

T = TypeVar("T")
ENOUGH = STORE_RULES.calls_min
FAULT = Unavailable("storage_unavailable", "gone")


class ShakyDatabase:
    """A real store that can be told to fail its writes, or to take its time, and counts calls."""

    def __init__(self, inner: Database, clock: ManualClock) -> None:
        self.inner = inner
        self.clock = clock
        self.fault: Exception | None = None
        self.seconds = 0.0
        self.calls = 0

    async def write(self, scope: Scope, work: Work[T]) -> T:
        self.calls += 1
        self.clock.advance(self.seconds)
        if self.fault is not None:
            raise self.fault
        return await self.inner.write(scope, work)

    async def read(self, scope: Scope, work: Work[T]) -> T:
        self.clock.advance(self.seconds)
        return await self.inner.read(scope, work)


async def nothing(tx: Transaction) -> None:
    await tx.execute("select 1")


def run(
    path: Path, scenario: Callable[[SparedDatabase, ShakyDatabase, ManualClock], Awaitable[Any]]
) -> None:
    async def whole() -> None:
        store = store_in(path)
        await store.write(SERVER, lambda tx: log.open_store(tx, "s_000k3f9ab", 0.0))
        clock = ManualClock()
        shaky = ShakyDatabase(store, clock)
        try:
            await scenario(SparedDatabase(shaky, clock), shaky, clock)
        finally:
            await store.close()

    asyncio.run(whole())


async def fail(spared: SparedDatabase, scopes: Sequence[Scope]) -> None:
    for scope in scopes:
        with pytest.raises(Unavailable):
            await spared.write(scope, nothing)


def test_a_store_that_keeps_failing_is_left_alone_and_its_reads_go_on(tmp_path: Path) -> None:
    async def scenario(spared: SparedDatabase, shaky: ShakyDatabase, clock: ManualClock) -> None:
        shaky.fault = FAULT
        await fail(spared, [SERVER] * ENOUGH)
        assert shaky.calls == ENOUGH
        with pytest.raises(Unavailable) as refused:
            await spared.write(ANA, nothing)
        assert shaky.calls == ENOUGH
        assert refused.value.code == "storage_unavailable"
        assert refused.value.retry_after_seconds == STORE_RULES.open_seconds
        await spared.read(ANA, nothing)
        found = await spared.health()
        assert (found.state, found.detail) == (TierState.DOWN, "writing rests")

    run(tmp_path, scenario)


def test_one_probe_at_a_time_finds_that_it_works_again(tmp_path: Path) -> None:
    async def scenario(spared: SparedDatabase, shaky: ShakyDatabase, clock: ManualClock) -> None:
        shaky.fault = FAULT
        await fail(spared, [SERVER] * ENOUGH)
        for _ in range(20):
            clock.advance(STORE_RULES.open_seconds_max)
            await fail(spared, [SERVER] * 5)
        assert shaky.calls == ENOUGH + 20
        shaky.fault = None
        clock.advance(STORE_RULES.open_seconds_max)
        await spared.write(ANA, nothing)
        await spared.write(BOB, nothing)
        assert (await spared.health()).state is TierState.OK

    run(tmp_path, scenario)


def test_one_users_failures_never_become_everybodys(tmp_path: Path) -> None:
    async def scenario(spared: SparedDatabase, shaky: ShakyDatabase, clock: ManualClock) -> None:
        shaky.fault = FAULT
        await fail(spared, [ANA] * 10 * ENOUGH)
        assert spared.states()["write"] is BreakerState.CLOSED
        shaky.fault = None
        await spared.write(BOB, nothing)

    run(tmp_path, scenario)


def test_several_users_failures_are_the_stores(tmp_path: Path) -> None:
    async def scenario(spared: SparedDatabase, shaky: ShakyDatabase, clock: ManualClock) -> None:
        shaky.fault = FAULT
        await fail(spared, [ANA, BOB] * ENOUGH)
        assert spared.states()["write"] is BreakerState.OPEN

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    "fault",
    [
        Conflict("thread_busy", ""),
        ValueError(),
        Unavailable("storage_full", ""),
        Undecided("storage_unavailable", "lost on its way"),
    ],
)
def test_an_answer_that_is_no_fault_of_the_stores_opens_nothing(
    tmp_path: Path, fault: Exception
) -> None:
    async def scenario(spared: SparedDatabase, shaky: ShakyDatabase, clock: ManualClock) -> None:
        shaky.fault = fault
        for _ in range(3 * ENOUGH):
            with pytest.raises(type(fault)):
                await spared.write(SERVER, nothing)
        assert spared.states()["write"] is BreakerState.CLOSED

    run(tmp_path, scenario)


def test_a_store_that_is_slow_again_and_again_is_left_alone_too(tmp_path: Path) -> None:
    async def scenario(spared: SparedDatabase, shaky: ShakyDatabase, clock: ManualClock) -> None:
        # Calls at once: one after the other, so slow ones would be further apart than the window.
        for _ in range(ENOUGH):
            before = clock.monotonic()
            shaky.seconds = SLOW_SECONDS
            await spared.write(SERVER, nothing)
            clock.advance(before - clock.monotonic() + 0.1)
        shaky.seconds = 0.0
        assert spared.states() == {"read": BreakerState.CLOSED, "write": BreakerState.OPEN}

    run(tmp_path, scenario)


def test_a_caller_who_leaves_says_nothing_of_the_store(tmp_path: Path) -> None:
    class Hanging:
        """A fake store that never answers."""

        async def write(self, scope: Scope, work: Work[T]) -> T:
            await asyncio.Event().wait()
            raise AssertionError

        read = write

    async def scenario() -> None:
        spared = SparedDatabase(Hanging(), ManualClock())
        for _ in range(3 * ENOUGH):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await spared.write(SERVER, nothing)
        assert spared.states()["write"] is BreakerState.CLOSED

    asyncio.run(scenario())
