"""Tickets in memory: taken once, soon gone, never too many."""

import asyncio

import pytest

from tests.fakes.time import ManualClock
from tidings.domain.errors import Unavailable
from tidings.storage.hot import memory
from tidings.storage.hot.memory import MemoryTickets


def test_a_ticket_is_taken_once() -> None:
    async def scenario() -> None:
        tickets = MemoryTickets(ManualClock())
        await tickets.put("a", b"1", 30)
        assert [await tickets.take("a"), await tickets.take("a")] == [b"1", None]
        assert await tickets.take("never") is None

    asyncio.run(scenario())


def test_a_ticket_is_worth_nothing_from_its_last_moment_on() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        tickets = MemoryTickets(clock)
        await tickets.put("a", b"1", 30)
        clock.advance(30)
        assert await tickets.take("a") is None

    asyncio.run(scenario())


def test_the_store_is_bounded_and_makes_room_by_forgetting_what_expired(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "MAX_TICKETS", 2)

    async def scenario() -> None:
        clock = ManualClock()
        tickets = MemoryTickets(clock)
        await tickets.put("a", b"1", 30)
        await tickets.put("b", b"2", 30)
        with pytest.raises(Unavailable, match="Too many tickets"):
            await tickets.put("c", b"3", 30)
        clock.advance(31)
        await tickets.put("c", b"3", 30)
        assert await tickets.take("c") == b"3"

    asyncio.run(scenario())
