"""Runs that a scheduler brings: whatever it does, each is worked on once, in turn, and ends."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.world import ANA, World, payloads, types, world
from tidings.domain.commands import AnswerInput, AnswerPayload, StopAgent, StopPayload
from tidings.domain.context import SERVER
from tidings.domain.errors import Unavailable
from tidings.domain.runs import Outcome, Run
from tidings.domain.tiers import Tier
from tidings.runs import dispatch, queue
from tidings.runs.context import RunContext
from tidings.runs.queue import Limits
from tidings.scheduling.port import Errand, NotNow, Take, Urgency

FOR_EVER = 3600.0


class FakeScheduler:
    """A scheduler in this process: remembers what it was sent and brings it as often as wanted."""

    def __init__(self, patience: float, times: int = 1, *, away: bool = False) -> None:
        self.patience_seconds = patience
        self.tiers: tuple[Tier, ...] = ()
        self.sent: list[Errand] = []
        self._times = times
        self._away = away
        self._waiting: asyncio.Queue[Errand] = asyncio.Queue()

    async def send(self, errand: Errand) -> None:
        if self._away:
            raise Unavailable("scheduler_unavailable", "It is away.")
        self.sent.append(errand)
        for _ in range(self._times):
            self._waiting.put_nowait(errand)

    async def bring(self, slots: int, take: Take) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                tasks.create_task(take(await self._waiting.get()))


async def quick(ctx: RunContext) -> Outcome:
    """Answers at once."""
    return Outcome("done")


def run(
    folder: Path,
    scheduler: FakeScheduler,
    scenario: Callable[[World], Awaitable[None]],
    agent: Callable[[RunContext], Awaitable[Outcome]] = quick,
    limits: Limits | None = None,
) -> None:
    async def whole() -> None:
        async with world(folder, {"a": agent}, scheduler=scheduler, limits=limits) as w:
            await w.begin()
            async with w.working(), asyncio.timeout(30):
                await scenario(w)

    asyncio.run(whole())


def test_a_run_that_is_brought_twice_at_once_is_worked_on_once(tmp_path: Path) -> None:
    async def scenario(w: World) -> None:
        for _ in range(5):
            events = await w.events_until_end(await w.ask("?"))
            assert types(events).count("agent_started") == 1
            assert events[-1].payload["summary"]["attempts"] == 1

    run(tmp_path, FakeScheduler(FOR_EVER, times=3), scenario)


def test_what_is_never_brought_is_found_by_the_workers(tmp_path: Path) -> None:
    async def scenario(w: World) -> None:
        events = await w.events_until_end(await w.ask("?"))
        assert types(events)[-1] == "agent_completed"

    run(tmp_path, FakeScheduler(0.3, times=0), scenario)


def test_while_the_scheduler_is_away_runs_begin_without_it_and_at_once(tmp_path: Path) -> None:
    scheduler = FakeScheduler(FOR_EVER, away=True)

    async def scenario(w: World) -> None:
        events = await w.events_until_end(await w.ask("?"))
        assert types(events)[-1] == "agent_completed"

    run(tmp_path, scheduler, scenario)
    assert scheduler.sent == []


def test_a_user_has_so_many_runs_brought_at_once_and_a_thread_one(tmp_path: Path) -> None:
    gate, full = asyncio.Event(), asyncio.Event()
    scheduler = FakeScheduler(FOR_EVER)
    running: list[str] = []

    async def held_up(ctx: RunContext) -> Outcome:
        running.append(ctx.request.text)
        if len(running) == 2:
            full.set()
        await gate.wait()
        return Outcome("done")

    async def scenario(w: World) -> None:
        first = await w.ask("1")
        receipts = [first, await w.ask("2", thread=first.thread_id)]
        receipts += [await w.ask(text) for text in ("3", "4")]
        await full.wait()
        assert {a.run_id for a in scheduler.sent} == {first.run_id, receipts[2].run_id}
        gate.set()
        for receipt in receipts:
            await w.events_until_end(receipt)
        assert running.index("1") < running.index("2")

    run(tmp_path, scheduler, scenario, held_up, Limits(runs_per_user=2))
    assert len(scheduler.sent) == 4


def test_a_run_that_has_waited_is_brought_again_and_before_others(tmp_path: Path) -> None:
    scheduler = FakeScheduler(FOR_EVER)

    async def asking(ctx: RunContext) -> Outcome:
        return Outcome(str(await ctx.ask("Which?", {"type": "string"})))

    async def scenario(w: World) -> None:
        receipt = await w.ask("?")
        asked = await w.events_until(receipt, lambda e: e[-1].type == "input_required")
        request_id = payloads(asked, "input_required")[0]["request_id"]
        payload = AnswerPayload(receipt.run_id, request_id, "blue")
        await w.router.accept(ANA, AnswerInput("m", payload))
        events = await w.events_until_end(receipt)
        assert payloads(events, "agent_completed")[0]["answer"] == "blue"

    run(tmp_path, scheduler, scenario, asking)
    assert [a.urgency for a in scheduler.sent] == [Urgency.FRESH, Urgency.BEGUN]
    assert scheduler.sent[0].fence < scheduler.sent[1].fence


def test_a_run_that_nobody_brings_is_still_stopped_and_ended_in_its_time(tmp_path: Path) -> None:
    async def scenario(w: World) -> None:
        stopped, overdue = await w.ask("?"), await w.ask("?")
        await w.router.accept(ANA, StopAgent("stop", StopPayload(stopped.run_id)))
        assert types(await w.events_until_end(stopped))[-1] == "agent_cancelled"
        failed = payloads(await w.events_until_end(overdue), "agent_failed")
        assert failed[0]["code"] == "deadline_exceeded"

    run(tmp_path, FakeScheduler(FOR_EVER, times=0), scenario, limits=Limits(run_seconds=1.0))


def test_what_a_worker_may_still_have_is_left_to_it_until_its_lease_ends(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, {"a": quick}) as w:
            await w.begin()
            receipt = await w.ask("?")
            (sent,) = await w.database.write(SERVER, lambda tx: dispatch.mark(tx, 0, Limits()))
            assert (sent.run_id, sent.fence) == (receipt.run_id, 0)

            async def taken(owner: str, now: float, **changed: Any) -> Run | None:
                brought = Errand(sent.run_id, 0, "", Urgency.FRESH, 0.0, **changed)
                return await w.database.write(
                    SERVER, lambda tx: dispatch.claim_brought(tx, brought, owner, now, now + 3)
                )

            assert await taken("w_1", now=10.0) is not None
            assert await taken("w_2", now=11.0) is None  # brought twice
            with pytest.raises(NotNow) as later:
                await taken("w_2", now=11.0, again=True)
            assert later.value.seconds == 2.0
            run = await taken("w_2", now=13.1, again=True)
            assert run is not None
            assert run.fence == 2
            await w.database.write(run.context, lambda tx: queue.end(tx, run, "failed", 14.0))
            assert await taken("w_1", now=20.0, again=True) is None

    asyncio.run(scenario())


def test_what_was_sent_counts_against_its_user_until_it_has_ended(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, {"a": quick}) as w:
            await w.begin()
            for text in "12345":
                await w.ask(text)
            limits = Limits(runs_per_user=3)

            async def sent() -> int:
                return len(
                    await w.database.write(SERVER, lambda tx: dispatch.mark(tx, 0.0, limits))
                )

            assert await sent() == 3
            assert await sent() == 0
            (run, *_) = await w.database.write(
                SERVER,
                lambda tx: dispatch.claim_unbrought(tx, "w", 10.0, 13.0, free=1, patience=5.0),
            )
            assert await sent() == 0
            await w.database.write(run.context, lambda tx: queue.end(tx, run, "failed", 11.0))
            assert await sent() == 1

    asyncio.run(scenario())
