"""Runs that nobody waits for: what somebody waits for goes first, from the door to the model."""

import asyncio
from pathlib import Path

import pytest

from tests.fakes.models import PartModel, says
from tests.fakes.ports import ManualClock
from tests.world import ANA, BOB, World, world
from tidings.domain.commands import Receipt, StartAgent, StartPayload
from tidings.domain.context import SERVER, UserContext
from tidings.domain.errors import Unavailable
from tidings.domain.runs import Outcome
from tidings.resilience.priority import Priority
from tidings.resilience.shedding import SheddingRules
from tidings.runs import dispatch, queue
from tidings.runs.context import RunContext
from tidings.runs.queue import Limits
from tidings.scheduling.port import Urgency


async def thinks(ctx: RunContext) -> Outcome:
    return Outcome((await ctx.model(says("x"))).text)


async def ask(w: World, id: str, user: UserContext = ANA, *, background: bool = False) -> Receipt:
    payload = StartPayload(id, background=background)
    return await w.router.accept(user, StartAgent(id, payload))


def test_workers_take_it_when_nothing_else_is_left(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, {"it": thinks}, clock=(clock := ManualClock())) as w:
            await w.begin()
            limits = Limits(runs=1, runs_per_user=1)
            order = []
            for id, user, background in (("later", ANA, True), ("now", ANA, False), ("b", BOB, 0)):
                clock.advance(1.0)
                await ask(w, id, user, background=bool(background))
            for owner in ("w1", "w2", "w3"):
                claimed = await w.database.write(
                    SERVER,
                    lambda tx, by=owner: queue.claim(  # type: ignore[misc]
                        tx, by, clock.now(), 2e9, free=1, limits=limits
                    ),
                )
                order += [run.request.text for run in claimed]
                for run in claimed:
                    await w.database.write(
                        run.context,
                        lambda tx, of=run: queue.end(tx, of, "completed", 0.0),  # type: ignore[misc]
                    )
            assert order == ["now", "b", "later"]

    asyncio.run(scenario())


def test_a_scheduler_is_told_of_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, {"it": thinks}, clock=(clock := ManualClock())) as w:
            await w.begin()
            receipts = []
            for id, background in (("later", True), ("now", False)):
                clock.advance(1.0)
                receipts.append(await ask(w, id, background=background))
            first = await w.database.write(
                SERVER, lambda tx: dispatch.mark(tx, 0.0, Limits(runs_per_user=1))
            )
            rest = await w.database.write(SERVER, lambda tx: dispatch.mark(tx, 0.0, Limits()))
            assert [(e.run_id, e.urgency) for e in first + rest] == [
                (receipts[1].run_id, Urgency.FRESH),
                (receipts[0].run_id, Urgency.BACKGROUND),
            ]

    asyncio.run(scenario())


def test_its_requests_wait_for_those_of_others_at_the_model(tmp_path: Path) -> None:
    async def scenario() -> None:
        model = PartModel()
        async with world(tmp_path, {"it": thinks}, model=model) as w:
            await w.begin()
            async with w.working():
                for id, background in (("later", True), ("now", False)):
                    await w.events_until_end(await ask(w, id, background=background))
        asked = [request.priority for request in model.requests]
        assert asked == [Priority.BACKGROUND, Priority.INTERACTIVE]

    asyncio.run(scenario())


def test_it_is_refused_before_what_somebody_waits_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        rules = SheddingRules(queued_max=9)
        async with world(tmp_path, {"it": thinks}, shedding=rules) as w:
            await w.begin()
            for number in range(3):
                await ask(w, f"m{number}")
            with pytest.raises(Unavailable) as refused:
                await ask(w, "later", BOB, background=True)
            assert refused.value.code == "overloaded"
            await ask(w, "now", BOB)

    asyncio.run(scenario())
