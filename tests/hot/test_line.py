"""The line to the server: nobody waits to say something, and nobody for long who asks."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.faults.devices import eventually
from tests.harness.valkey import ValkeyServer
from tests.hot.tiers import Told, on_server
from tidings.domain.errors import Unavailable
from tidings.domain.tiers import TierState
from tidings.resilience.breaker import BreakerState
from tidings.resilience.rates import Allowance
from tidings.storage.hot.line import QUESTIONS_MAX, REMARKS_BYTES_MAX, REMARKS_MAX
from tidings.storage.hot.valkey import Valkey

ONE_EACH = Allowance("test", 1, 3_600.0)


@asynccontextmanager
async def frozen(valkey: ValkeyServer) -> AsyncIterator[None]:
    """Have the server stand still in the block: what is sent to it piles up in the sockets."""
    valkey.freeze()
    try:
        yield
    finally:
        valkey.thaw()


def test_what_is_said_to_a_server_that_stands_still_is_bounded_and_the_oldest_goes(
    valkey: ValkeyServer,
) -> None:
    async def scenario() -> None:
        fates: Counter[str] = Counter()
        async with on_server(valkey.url, fates=fates) as tier, frozen(valkey):
            for number in range(REMARKS_MAX + 500):
                tier.hints.publish(Told("u_1", number))
            assert len(tier._line._remarks) == REMARKS_MAX
            assert fates == {"sent": REMARKS_MAX + 500, "dropped": 500}
            for number in range(300):
                tier.hints.publish(Told("u_1", number, b"x" * 60_000))
            assert tier._line._remark_bytes <= REMARKS_BYTES_MAX
            kept = sum(command.size for command in tier._line._remarks)
            assert kept == tier._line._remark_bytes
            await eventually(lambda: not tier._line._remarks)  # dropped: it is too late for them
            assert tier._line._remark_bytes == 0
        assert fates["dropped"] == fates["sent"]

    asyncio.run(scenario())


def test_questions_are_not_asked_of_a_server_that_does_not_answer(valkey: ValkeyServer) -> None:
    async def scenario() -> None:
        async with on_server(valkey.url) as tier:
            async with frozen(valkey):
                async with asyncio.timeout(60):
                    while tier._line.state is not BreakerState.OPEN:
                        with pytest.raises(Unavailable):
                            await tier._line.ask("PING")
                for _ in range(1_000):
                    with pytest.raises(Unavailable):
                        await tier._line.ask("PING")
                assert not tier._line._questions
            async with asyncio.timeout(60):
                while (await tier.health()).state is not TierState.OK:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)

    asyncio.run(scenario())


def test_a_line_that_nobody_carries_refuses_and_stays_bounded(valkey: ValkeyServer) -> None:
    """So it is for a command of the operator's, which runs no parts."""

    async def scenario() -> None:
        async with on_server(valkey.url) as running:
            tier = running
        for number in range(REMARKS_MAX + 1):
            tier.hints.publish(Told("u_1", number))
        assert len(tier._line._remarks) == REMARKS_MAX
        assert await tier.rates.take(ONE_EACH, "a") == 0
        assert await tier.rates.take(ONE_EACH, "a") > 0
        assert await tier.once.first("t", 30)
        assert not await tier.once.first("t", 30)
        assert len(tier._line._questions) <= QUESTIONS_MAX

    asyncio.run(scenario())


def test_a_refusal_is_told_to_who_asked_and_to_nobody_else(valkey: ValkeyServer) -> None:
    async def scenario() -> None:
        async with on_server(valkey.url) as tier:
            connection = tier._line._connection
            async with asyncio.TaskGroup() as tasks:
                asked = [tasks.create_task(answer(tier, n)) for n in range(9)]
            assert [task.result() for task in asked] == [None, b"1", b"2"] * 3
            assert connection is None or tier._line._connection is connection

    asyncio.run(scenario())


async def answer(tier: Valkey, number: int) -> bytes | None:
    """Ask what every third time the server does not know."""
    try:
        if number % 3 == 0:
            return bytes(await tier._line.ask("NOSUCHCOMMAND", number))
        return bytes(await tier._line.ask("ECHO", str(number % 3)))
    except Unavailable:
        return None


def test_a_server_without_room_counts_nothing_and_each_process_counts_for_itself(
    valkey: ValkeyServer,
) -> None:
    async def scenario() -> None:
        valkey.control.config_set("maxmemory", "1")
        try:
            async with on_server(valkey.url) as one, on_server(valkey.url) as two:
                for tier in (one, two):
                    assert await tier.rates.take(ONE_EACH, "a") == 0
                    assert await tier.rates.take(ONE_EACH, "a") > 0
                    assert await tier.once.first("t", 30)
                    health = await tier.health()
                    assert health.state is TierState.DEGRADED
                    assert "memory" in health.detail
                    assert health.meaning
        finally:
            valkey.control.config_set("maxmemory", "0")

    asyncio.run(scenario())
