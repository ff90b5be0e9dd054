"""What is taken on when there is much to do, and which agent gets it: on a real store."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from tests.fakes.ports import ManualClock
from tests.world import ANA, BOB, World, payloads, world
from tidings.domain.commands import AnswerInput, AnswerPayload, Receipt, StopAgent, StopPayload
from tidings.domain.context import SERVER, UserContext
from tidings.domain.errors import NotFound, Unavailable
from tidings.domain.runs import Outcome
from tidings.resilience.shedding import RETRY_SECONDS_MIN, SheddingRules
from tidings.runs import queue
from tidings.runs.context import RunContext
from tidings.runs.queue import Limits
from tidings.storage.warm.port import Transaction

LIMITS = Limits(runs=2, runs_per_user=2)
RULES = SheddingRules(queued_max=60, wait_seconds_max=30.0)
CROWD = [UserContext("acme", f"u{number}", "s1") for number in range(40)]


async def well(ctx: RunContext) -> Outcome:
    return Outcome("well")


async def fails(ctx: RunContext) -> Outcome:
    raise ValueError


@asynccontextmanager
async def busy_world(path: Path, clock: ManualClock) -> AsyncIterator[World]:
    """A world without a worker: what is asked for stays in the queue."""
    async with world(path, {"well": well}, clock=clock, limits=LIMITS, shedding=RULES) as w:
        await w.begin()
        yield w


async def crowded(w: World, *users: UserContext) -> None:
    """Have each ask for something, and let that be seen."""
    for user in users:
        await w.ask("x", user)
    await w.lookout.look()


async def refused(w: World, user: UserContext) -> Unavailable:
    with pytest.raises(Unavailable) as refusal:
        await w.ask("more", user)
    assert refusal.value.code == "overloaded"
    return refusal.value


def test_a_queue_that_is_too_long_refuses_with_a_time_to_come_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with busy_world(tmp_path, ManualClock()) as w:
            for number in range(RULES.queued_max):
                await w.ask("x", CROWD[number % len(CROWD)])
            refusal = await refused(w, BOB)
            assert refusal.retry_after_seconds == 1.5 * RETRY_SECONDS_MIN
            await w.lookout.look()
            await refused(w, BOB)

    asyncio.run(scenario())


def test_a_queue_that_waits_for_too_long_refuses_until_it_does_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        async with busy_world(tmp_path, clock) as w:
            await crowded(w, *CROWD[:4])
            clock.advance(RULES.wait_seconds_max + 5.0)
            refusal = await refused(w, BOB)
            assert refusal.retry_after_seconds == pytest.approx(1.5 * 5.0)
            await w.database.write(
                SERVER, lambda tx: queue.claim(tx, "w", clock.now(), 2e9, free=3, limits=LIMITS)
            )
            await w.lookout.look()
            await w.ask("again", BOB)

    asyncio.run(scenario())


def test_what_ends_work_or_lets_it_go_on_is_never_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with busy_world(tmp_path, ManualClock()) as w:
            receipts = [
                await w.ask("x", CROWD[number % len(CROWD)]) for number in range(RULES.queued_max)
            ]
            await refused(w, ANA)
            stop = StopAgent("stop", StopPayload(receipts[0].run_id))
            assert (await w.router.accept(CROWD[0], stop)).run_id == receipts[0].run_id
            answer = AnswerInput("a", AnswerPayload(receipts[1].run_id, "q1", "yes"))
            with pytest.raises(NotFound):
                await w.router.accept(ANA, answer)

    asyncio.run(scenario())


def test_who_has_more_open_than_would_be_worked_on_is_refused_first(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        async with busy_world(tmp_path, clock) as w:
            await crowded(w, ANA, ANA, *CROWD[:4])
            clock.advance(0.5 * RULES.wait_seconds_max)
            await refused(w, ANA)
            await w.ask("x", BOB)

    asyncio.run(scenario())


def test_the_backlog_of_one_user_is_no_wait_of_the_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        async with busy_world(tmp_path, clock) as w:
            for _ in range(20):
                await w.ask("x", ANA)
            await w.database.write(
                SERVER, lambda tx: queue.claim(tx, "w", clock.now(), 2e9, free=2, limits=LIMITS)
            )
            clock.advance(100.0)
            await w.lookout.look()
            assert w.lookout.backlog.queued == 18
            assert w.lookout.wait_seconds == 0.0
            await w.ask("x", BOB)

    asyncio.run(scenario())


def test_a_run_that_was_begun_before_is_no_sign_of_a_queue(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        async with busy_world(tmp_path, clock) as w:
            for user in CROWD[:4]:
                await w.ask("x", user)
            await w.database.write(
                SERVER, lambda tx: queue.claim(tx, "w", clock.now(), 2e9, free=4, limits=LIMITS)
            )
            clock.advance(100.0)
            await w.database.write(SERVER, queue.release_all)
            await w.lookout.look()
            assert (w.lookout.backlog.queued, w.lookout.wait_seconds) == (4, 0.0)

    asyncio.run(scenario())


# -- by how many it is worked on -------------------------------------------------------------


def test_what_many_work_on_at_once_is_no_queue(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        async with busy_world(tmp_path, clock) as w:
            await crowded(w, *CROWD[:4])
            clock.advance(RULES.wait_seconds_max + 5.0)
            await refused(w, BOB)
            w.intake._room = lambda: 4
            await w.ask("x", BOB)

    asyncio.run(scenario())


def test_a_place_in_the_queue_is_told_by_the_room_of_all(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with busy_world(tmp_path, ManualClock()) as w:
            for user in CROWD[:3]:
                await w.ask("x", user)
            assert await at_once(w, await w.ask("x", ANA)) == [("queued", 2)]
            w.intake._room = lambda: 32
            assert await at_once(w, await w.ask("x", BOB), BOB) == []

    asyncio.run(scenario())


def test_where_nobody_works_who_asks_is_told_and_after_a_while_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        async with busy_world(tmp_path, clock) as w:
            w.intake._room = lambda: 0
            assert await at_once(w, await w.ask("x", ANA)) == [("no_worker", 1)]
            await w.lookout.look()
            clock.advance(RULES.wait_seconds_max - 5.0)
            assert await at_once(w, await w.ask("x", BOB), BOB) == [("no_worker", 2)]
            clock.advance(10.0)
            with pytest.raises(Unavailable) as refusal:
                await w.ask("x", BOB)
            assert refusal.value.code == "no_worker"
            assert refusal.value.retry_after_seconds == pytest.approx(1.5 * 5.0)
            w.intake._room = lambda: 2
            await w.ask("x", BOB)

    asyncio.run(scenario())


async def at_once(w: World, receipt: Receipt, user: UserContext = ANA) -> list[tuple[str, int]]:
    """Return the notices that came with the message: their codes, and the place in the queue."""
    last = receipt.offset
    events = await w.events_until(receipt, lambda events: events[-1].offset >= last, user)
    return [(notice["code"], notice["place"]) for notice in payloads(events, "notice")]


# -- which agent -----------------------------------------------------------------------------


async def ended(w: World, count: int, users: tuple[UserContext, ...], agent: str) -> None:
    receipts = [await w.ask("x", users[n % len(users)], agent=agent) for n in range(count)]
    for number, receipt in enumerate(receipts):
        await w.events_until_end(receipt, users[number % len(users)])
    await w.lookout.look()


async def told(w: World, receipt: Receipt) -> tuple[str, list[str]]:
    """Return who got the run, and what its user was told of that."""
    events = await w.events_until_end(receipt)
    [received] = payloads(events, "message_received")
    codes = [notice["code"] for notice in payloads(events, "notice")]
    return received["agent"], [code for code in codes if code != "queued"]


def test_an_agent_that_fails_for_several_users_is_stood_in_for_and_tried_again(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with world(tmp_path, {"shaky": fails}) as w:
            await w.begin()
            w.registry.register("steady", "A test's.", well, stands_in_for=("shaky",))
            async with w.working():
                assert await told(w, await w.ask("x")) == ("shaky", [])
                await ended(w, 6, (ANA, BOB), "shaky")
                assert await told(w, await w.ask("x")) == ("steady", ["agent_stands_in"])
                named = await w.ask("x", agent="shaky")
                assert await told(w, named) == ("steady", ["agent_stands_in"])
                await long_ago(w)
                assert await told(w, await w.ask("x")) == ("shaky", [])

    asyncio.run(scenario())


async def long_ago(w: World) -> None:
    """Have every end be a minute older."""

    async def work(tx: Transaction) -> None:
        await tx.execute("update runs set ended_at = ended_at - 60 where state = 'ended'")

    await w.database.write(SERVER, work)
    await w.lookout.look()


def test_one_users_failures_take_an_agent_from_nobody(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, {"shaky": fails}) as w:
            await w.begin()
            w.registry.register("steady", "A test's.", well, stands_in_for=("shaky",))
            async with w.working():
                await ended(w, 8, (BOB,), "shaky")
                assert await told(w, await w.ask("x")) == ("shaky", [])

    asyncio.run(scenario())


def test_where_nobody_stands_in_the_agent_is_asked_and_the_user_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, {"shaky": fails}) as w:
            await w.begin()
            async with w.working():
                await ended(w, 6, (ANA, BOB), "shaky")
                assert await told(w, await w.ask("x")) == ("shaky", ["agent_unwell"])

    asyncio.run(scenario())


def test_a_lookout_that_cannot_see_keeps_what_it_saw(tmp_path: Path) -> None:
    class Gone:
        """A fake store that is away."""

        async def read(self, *_args: object) -> NoReturn:
            raise Unavailable("storage_unavailable", "away")

        write = read

    async def scenario() -> None:
        async with busy_world(tmp_path, ManualClock()) as w:
            await w.ask("x", ANA)
            await w.lookout.look()
            w.lookout._database = Gone()
            await w.lookout.look()
            assert w.lookout.backlog.queued == 1

    asyncio.run(scenario())
