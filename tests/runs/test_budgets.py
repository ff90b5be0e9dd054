"""Budgets: what a run and a user's day may take, kept with the steps, whatever fails."""

import asyncio
from itertools import count as numbers
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.fakes.models import ScriptedModel, says
from tests.fakes.ports import ManualClock
from tests.runs.failing_writes import Wrap, each_write_fails, insisting
from tests.runs.test_runs import Counter as CountingTarget
from tests.world import ANA, BOB, World, types, world
from tidings.domain.budgets import Budget, Plans, exceeded, likely_tokens, plans_of
from tidings.domain.budgets import Spent as Amounts
from tidings.domain.errors import InvalidInput
from tidings.domain.runs import Outcome
from tidings.models.port import ModelReply, ModelRequest, OnText
from tidings.router.spending import Spending
from tidings.runs.context import RunContext
from tidings.runs.port import Agent

SMALL = msgspec.structs.replace(says("again"), max_output_tokens=10)
PER_REQUEST = 11  # what the scripted model takes for "again"


async def talker(ctx: RunContext) -> Outcome:
    """Asks its model for ever, showing what it says."""
    while True:
        reply = await ctx.model(SMALL)
        await ctx.delta("a", reply.text)


async def caller(ctx: RunContext) -> Outcome:
    """Calls a tool for ever, each time with something else."""
    for n in numbers():
        await ctx.tool("count", {"text": "x" * n}, purpose="again")
    raise AssertionError


async def once(ctx: RunContext) -> Outcome:
    return Outcome((await ctx.model(SMALL)).text)


AGENTS: dict[str, Agent] = {"talker": talker, "caller": caller, "once": once}


def plan(**limits: Any) -> Plans:
    return Plans({"default": Budget(**limits)})


async def today(w: World, user: Any = ANA) -> dict[str, Any]:
    shown = await Spending(w.database, w.clock, w.engine.plans).today(user)
    return dict(msgspec.to_builtins(shown))


@pytest.mark.parametrize(
    ("limits", "limit", "requests"),
    [
        ({"run_tokens": 60}, "run_tokens", 5),
        ({"run_usd": 0.0035}, "run_usd", 3),
        ({"run_steps": 3}, "run_steps", 3),
        ({"day_tokens": 60}, "day_tokens", 5),
        ({"day_steps": 2}, "day_steps", 2),
    ],
)
def test_a_run_ends_at_its_budget_with_what_it_has(
    tmp_path: Path, limits: dict[str, Any], limit: str, requests: int
) -> None:
    async def scenario() -> None:
        model = ScriptedModel()
        async with world(tmp_path, AGENTS, model=model, plans=plan(**limits)) as w:
            await w.begin()
            async with w.working():
                events = await w.events_until_end(await w.ask("go"))
            spent = (await today(w))["spent"]
        end = events[-1]
        assert (end.type, end.payload["reason"]) == ("agent_cancelled", "budget")
        assert end.payload["limit"] == limit
        assert end.payload["partial_answer"] == "AGAIN" * requests
        assert end.payload["step"]["name"] == "model"
        assert model.requests == requests
        assert spent["tokens"] == requests * PER_REQUEST
        assert spent["tokens"] <= limits.get("run_tokens", 10**6)

    asyncio.run(scenario())


def test_an_endless_loop_of_calls_stops_at_the_budget(tmp_path: Path) -> None:
    async def scenario() -> None:
        for limits in ({"run_tool_calls": 3}, {"day_tool_calls": 3}):
            target = CountingTarget()
            path = tmp_path / "".join(limits)
            path.mkdir()
            async with world(path, AGENTS, [target.tool()], plans=plan(**limits)) as w:
                await w.begin()
                async with w.working():
                    events = await w.events_until_end(await w.ask("go", agent="caller"))
            assert len(target.calls) == 3
            assert events[-1].payload["limit"] == "".join(limits)
            assert types(events).count("tool_executing") == types(events).count("tool_completed")

    asyncio.run(scenario())


def test_an_agent_that_takes_no_notice_ends_all_the_same(tmp_path: Path) -> None:
    async def deaf(ctx: RunContext) -> Outcome:
        try:
            return await talker(ctx)
        except Exception:  # noqa: BLE001 - what it should not do
            return Outcome("I go on as if nothing had happened.")

    async def scenario() -> None:
        async with world(tmp_path, {"deaf": deaf}, plans=plan(run_steps=1)) as w:
            await w.begin()
            async with w.working():
                events = await w.events_until_end(await w.ask("go"))
        assert events[-1].payload["reason"] == "budget"

    asyncio.run(scenario())


def test_a_day_is_the_users_own_and_ends(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        async with world(tmp_path, AGENTS, clock=clock, plans=plan(day_steps=2)) as w:
            await w.begin()
            async with w.working():

                async def end(user: Any) -> str:
                    receipt = await w.ask("go", user, agent="once")
                    return (await w.events_until_end(receipt, user))[-1].type

                assert [await end(ANA) for _ in range(3)] == [
                    "agent_completed",
                    "agent_completed",
                    "agent_cancelled",
                ]
                assert await end(BOB) == "agent_completed"
                assert (await today(w, BOB))["spent"]["steps"] == 1
                clock.time += 24 * 3600
                assert await end(ANA) == "agent_completed"

    asyncio.run(scenario())


def test_what_is_under_way_is_reserved(tmp_path: Path) -> None:
    """Two requests at once cannot both have the last of a budget."""

    class Slow(ScriptedModel):
        gate = asyncio.Event()

        async def respond(self, request: ModelRequest, on_text: OnText) -> ModelReply:
            await self.gate.wait()
            return await super().respond(request, on_text)

    async def scenario() -> None:
        model = Slow()
        async with world(tmp_path, AGENTS, model=model, plans=plan(day_tokens=25)) as w:
            await w.begin()
            async with w.working():
                runs = [await w.ask("go", agent="once") for _ in range(2)]
                ended = asyncio.Event()
                first_end: list[str] = []

                async def watch(receipt: Any) -> None:
                    first_end.append((await w.events_until_end(receipt))[-1].type)
                    ended.set()

                async with asyncio.TaskGroup() as tasks:
                    for receipt in runs:
                        tasks.create_task(watch(receipt))
                    await ended.wait()
                    assert first_end == ["agent_cancelled"]
                    assert (await today(w))["reserved"]["tokens"] > 10
                    model.gate.set()
                assert first_end == ["agent_cancelled", "agent_completed"]
            shown = await today(w)
        assert model.requests == 1
        assert shown["reserved"]["tokens"] == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("after", [False, True], ids=["not-written", "reply-lost"])
def test_whichever_transaction_fails_nothing_is_counted_twice(tmp_path: Path, after: bool) -> None:
    async def counted(path: Path, wrap: Wrap) -> None:
        async with world(path, AGENTS, wrap=wrap) as w:
            await w.begin()
            async with w.working():
                receipt = await insisting(lambda: w.ask("go", agent="once", id="cmd-1"))
                await w.events_until_end(receipt)
            shown = await today(w)
        assert shown["spent"]["steps"] == 1
        assert shown["spent"]["tokens"] == PER_REQUEST
        assert shown["reserved"]["steps"] == 0

    asyncio.run(each_write_fails(tmp_path, counted, after=after, writes_min=3))


def test_plans_are_read_from_toml_and_belong_to_users_and_tenants() -> None:
    plans = plans_of(
        '[plans.free]\nday_usd = 0.5\n[plans.staff]\nday_usd = "none"\n'
        '[users]\nana = "staff"\n[tenants]\nacme = "free"\n'
    )
    assert plans.budget(ANA).day_usd is None
    assert plans.budget(BOB).day_usd == 0.5
    assert plans.budget(BOB).run_steps == Budget().run_steps
    for wrong in (
        "[",
        "[plans.a]\nday_used = 1",
        '[users]\nana = "nobody"',
        "[plans.a]\nday_usd=''",
    ):
        with pytest.raises(InvalidInput) as refused:
            plans_of(wrong)
        assert refused.value.code == "bad_setting"


def test_a_limit_is_exceeded_only_above_it() -> None:
    budget = Budget(run_tokens=10, run_usd=None)
    assert exceeded(budget, "run", Amounts(10, 10**9)) is None
    assert exceeded(budget, "run", Amounts(11)) == "run_tokens"
    assert likely_tokens(9, 5) == 8
