"""What the ports of the hot tier promise, of both adapters: in memory and on a real Valkey."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from tests.faults.devices import eventually
from tests.harness.valkey import ValkeyServer
from tests.hot.tiers import Called, HotTier, InMemory, Told, on_server
from tidings.domain.errors import Unavailable
from tidings.resilience.rates import Allowance
from tidings.storage.hot import memory

Scenario = Callable[[HotTier], Awaitable[None]]
Run = Callable[[Scenario], None]

pytestmark = pytest.mark.usefixtures("patient")


@pytest.fixture(params=["memory", "valkey"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a scenario on an adapter."""
    server: ValkeyServer | None = None
    if request.param == "valkey":
        server = request.getfixturevalue("valkey")

    @asynccontextmanager
    async def opened() -> AsyncIterator[HotTier]:
        if server is None:
            yield InMemory()
            return
        async with on_server(server.url) as tier:
            yield tier

    async def act(scenario: Scenario) -> None:
        async with opened() as tier:
            await scenario(tier)

    return lambda scenario: asyncio.run(act(scenario))


def test_the_process_hears_its_own_notes_at_once_and_once(run: Run) -> None:
    async def scenario(tier: HotTier) -> None:
        listened: list[Told] = []
        heard: list[Told | Called] = []
        tier.hints.listen(Told, listened.append)
        tier.hints.hear(Told, heard.append)
        tier.hints.hear(Called, heard.append)
        tier.hints.attend("u_1")
        for number in range(3):
            tier.hints.publish(Told("u_1", number))
        tier.hints.publish(Called(3))
        assert listened == [Told("u_1", n) for n in range(3)]
        assert heard == [*listened, Called(3)]
        await asyncio.sleep(0.05)  # long enough for an echo, if there were one
        assert len(heard) == 4
        tier.hints.leave("u_1")

    run(scenario)


def test_of_all_who_ask_for_the_first_use_one_is_told_so(run: Run) -> None:
    async def scenario(tier: HotTier) -> None:
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(tier.once.first("a", 30)) for _ in range(20)]
        assert sorted(task.result() for task in asked) == [False] * 19 + [True]
        assert await tier.once.first("b", 30)

    run(scenario)


def test_a_use_is_forgotten_after_its_time(run: Run) -> None:
    async def scenario(tier: HotTier) -> None:
        assert await tier.once.first("a", 2.0)
        assert not await tier.once.first("a", 2.0)
        async with asyncio.timeout(60):
            while not await tier.once.first("a", 2.0):  # noqa: ASYNC110 - time passes elsewhere
                await asyncio.sleep(0.02)

    run(scenario)


def test_uses_are_remembered_up_to_a_bound_and_then_refused(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "USED_MAX", 2)

    async def scenario(tier: HotTier) -> None:
        assert await tier.once.first("a", 30)
        assert await tier.once.first("b", 30)
        with pytest.raises(Unavailable) as full:
            await tier.once.first("c", 30)
        assert full.value.code == "tickets_full"

    run(scenario)


def test_a_rate_allows_a_burst_and_says_how_long_to_wait(run: Run) -> None:
    async def scenario(tier: HotTier) -> None:
        rate, other = Allowance("test", 3, 300.0), Allowance("other", 1, 300.0)
        assert [await tier.rates.take(rate, "a") for _ in range(3)] == [0, 0, 0]
        assert await tier.rates.take(rate, "a") == pytest.approx(100.0, abs=5.0)
        assert await tier.rates.take(rate, "b") == 0
        assert await tier.rates.take(other, "a") == 0
        assert await tier.rates.take(other, "a") > 0

    run(scenario)


def test_what_is_given_back_can_be_taken_again(run: Run) -> None:
    async def scenario(tier: HotTier) -> None:
        rate = Allowance("test", 1, 300.0)
        await tier.rates.give_back(rate, "a")  # nothing was taken: nothing comes of it
        assert await tier.rates.take(rate, "a") == 0
        await tier.rates.give_back(rate, "a")
        assert await tier.rates.take(rate, "a") == 0
        assert await tier.rates.take(rate, "a") > 0

    run(scenario)


def test_a_rate_refills_with_time(run: Run) -> None:
    async def scenario(tier: HotTier) -> None:
        rate = Allowance("test", 2, 0.2)
        assert [await tier.rates.take(rate, "a") for _ in range(2)] == [0, 0]
        async with asyncio.timeout(60):
            while await tier.rates.take(rate, "a"):  # noqa: ASYNC110 - time passes elsewhere
                await asyncio.sleep(0.02)

    run(scenario)


def test_claims_of_one_thing_are_in_one_order(run: Run) -> None:
    async def scenario(tier: HotTier) -> None:
        claims = [await tier.precedence.claim("a") for _ in range(5)]
        assert claims == sorted(set(claims))
        other = await tier.precedence.claim("b")
        assert await tier.precedence.newest(["a", "b", "never"]) == [claims[-1], other, 0]
        assert await tier.precedence.newest([]) == []

    run(scenario)


def test_two_processes_count_together_and_hear_each_other(valkey: ValkeyServer) -> None:
    async def scenario() -> None:
        async with on_server(valkey.url) as one, on_server(valkey.url) as two:
            rate = Allowance("test", 3, 300.0)
            takes = [await tier.rates.take(rate, "a") for tier in (one, two, one, two)]
            assert takes[:3] == [0, 0, 0]
            assert takes[3] > 0
            assert [await tier.once.first("t", 30) for tier in (one, two)] == [True, False]
            first, second = await one.precedence.claim("d"), await two.precedence.claim("d")
            assert first < second
            assert await one.precedence.newest(["d"]) == [second]

            heard: list[Told | Called] = []
            counted: list[Told] = []
            two.hints.hear(Told, heard.append)
            two.hints.hear(Called, heard.append)
            two.hints.listen(Told, counted.append)
            two.hints.attend("u_1")
            await subscribed(valkey, 2)
            one.hints.publish(Told("u_2", 1))  # nobody there attends to this user
            one.hints.publish(Told("u_1", 2, b"x" * 1_000))
            one.hints.publish(Called(3))
            one.hints.publish(Told("u_1", 4, b"x" * 100_000))  # too long: only that it is so
            await eventually(lambda: len(heard) == 3)
            assert heard == [Told("u_1", 2, b"x" * 1_000), Called(3), Told("u_1", 4)]
            assert counted == []  # it was not this process that committed it

            two.hints.leave("u_1")
            await subscribed(valkey, 1)
            assert valkey.control.client_list()

    asyncio.run(scenario())


async def subscribed(valkey: ValkeyServer, channels: int) -> None:
    """Wait until so many channels have somebody who listens."""
    await eventually(lambda: len(valkey.control.pubsub_channels()) == channels)
