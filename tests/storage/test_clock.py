"""The store's time: what is learnt from its answers, and what is not."""

import asyncio

import pytest

from tests.fakes.ports import ManualClock
from tests.faults.served import ShiftedClock
from tidings.domain.errors import Unavailable
from tidings.storage.warm.clock import StoreClock
from tidings.system import UlidSource

HOUR = 3600.0
START = 1_800_000_000.0


class TellingStore:
    """A fake store whose time is ahead of this machine's; an answer takes so long on either way."""

    def __init__(self, own: ManualClock, ahead: float, way_seconds: float = 0.0) -> None:
        self.own = own
        self.ahead = ahead
        self.ways = (way_seconds, way_seconds)

    async def time(self) -> float:
        there, back = self.ways
        self.own.advance(there)
        told = self.own.now() + self.ahead
        self.own.advance(back)
        return told


def told(clock: StoreClock, store: TellingStore) -> None:
    asyncio.run(clock.set_by(store.time))


def test_without_a_store_that_tells_it_is_the_machines_own_time() -> None:
    own = ManualClock()
    clock = StoreClock(own)
    own.advance(5.0)
    assert (clock.now(), clock.monotonic(), clock.ahead_seconds) == (own.now(), own.now(), 0.0)


@pytest.mark.parametrize("ahead", [HOUR, -HOUR, 5.0, -5.0])
def test_it_is_the_stores_time_once_that_is_told(ahead: float) -> None:
    own = ManualClock()
    clock = StoreClock(own)
    told(clock, TellingStore(own, ahead))
    own.advance(7.0)
    assert clock.now() == pytest.approx(own.now() + ahead)
    assert clock.ahead_seconds == pytest.approx(-ahead)


def test_clocks_that_may_agree_are_not_moved() -> None:
    own = ManualClock()
    clock = StoreClock(own)
    told(clock, TellingStore(own, 0.002, way_seconds=0.01))
    assert clock.ahead_seconds == pytest.approx(0.0, abs=1e-6)


def test_an_answer_that_does_not_show_that_it_is_wrong_moves_nothing() -> None:
    own = ManualClock()
    clock, store = StoreClock(own), TellingStore(own, 10.0, way_seconds=0.01)
    told(clock, store)
    known = clock.ahead_seconds
    assert -10.02 <= known <= -9.98
    store.ways = (0.02, 30.0)  # this process stood still while the answer waited to be read
    told(clock, store)
    store.ways = (30.0, 0.02)
    told(clock, store)
    assert clock.ahead_seconds == pytest.approx(known, abs=1e-6)


def test_it_follows_a_store_whose_clock_is_set() -> None:
    own = ManualClock()
    clock, store = StoreClock(own), TellingStore(own, 0.0)
    told(clock, store)
    store.ahead = -3.0
    told(clock, store)
    assert clock.ahead_seconds == pytest.approx(3.0)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_f41_a_wall_clock_that_jumps_moves_nothing_once_the_store_has_told_its_time(
    jump: float,
) -> None:
    own = ShiftedClock()
    clock = StoreClock(own)

    async def time() -> float:
        return START

    asyncio.run(clock.set_by(time))
    before = clock.now()
    own.wall += jump
    assert 0.0 <= clock.now() - before < HOUR / 2
    assert abs(clock.ahead_seconds - (own.now() - START)) < HOUR / 2


def test_while_the_store_is_away_the_time_goes_on() -> None:
    own = ManualClock()
    clock = StoreClock(own)
    told(clock, TellingStore(own, HOUR))

    async def away() -> float:
        raise Unavailable("storage_unavailable", "away")

    with pytest.raises(Unavailable):
        asyncio.run(clock.set_by(away))
    own.advance(60.0)
    assert clock.now() == pytest.approx(own.now() + HOUR)


def test_who_needs_the_stores_time_waits_until_it_is_told() -> None:
    async def scenario() -> None:
        own = ManualClock()
        clock = StoreClock(own)
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(clock.told())
            await asyncio.sleep(0)
            assert not waiting.done()
            await clock.set_by(TellingStore(own, HOUR).time)
        await clock.told()

    asyncio.run(scenario())


def test_ids_are_sorted_by_the_time_of_the_clock_also_when_it_is_set() -> None:
    clock = ManualClock()
    ids = UlidSource(clock)
    before = [ids.new("e") for _ in range(3)]
    clock.advance(-0.5)  # what comes within a second stays in order
    before.append(ids.new("e"))
    assert before == sorted(before)
    clock.advance(-HOUR)  # as if it had run ahead before the store has told its time
    after = [ids.new("e") for _ in range(3)]
    assert after == sorted(after)
    assert after[-1] < before[0]
