"""Agents that turn in circles are told so, and ended, whatever kind of agent they are."""

import asyncio
from itertools import count as numbers
from pathlib import Path

import pytest

from tests.fakes.models import ScriptedModel, says
from tests.runs.test_runs import Counter as CountingTarget
from tests.world import payloads, types, world
from tidings.domain.errors import Failure
from tidings.domain.facts import Fact, ToolResult, Unit
from tidings.domain.runs import Outcome
from tidings.runs.context import AGENTS_DEEP_MAX, RunContext
from tidings.runs.outcomes import Fault, ToolOutcome
from tidings.runs.port import Agent
from tidings.runs.repetition import SAME_CALLS_MAX, STALE_STEPS_MAX, Repetition
from tidings.runs.rulings import ToolRequest


async def repeats(ctx: RunContext) -> Outcome:
    """Makes one call for ever, as a model does that takes no notice of what it is told."""
    while True:
        await ctx.tool("count", {"text": "x"}, purpose="again")


async def repeats_in_a_reply(ctx: RunContext) -> Outcome:
    """Wants one call fifty times at once."""
    same = ToolRequest("count", {"text": "x"}, "again")
    outcomes = await ctx.tools([same] * (SAME_CALLS_MAX + 2))
    return Outcome(" ".join(o.error.code if o.error else "ok" for o in outcomes))


async def says_the_same(ctx: RunContext) -> Outcome:
    """Asks its model for ever, and is told the same."""
    while True:
        await ctx.delta("a", (await ctx.model(says("again"))).text)


@pytest.mark.parametrize(("agent", "made"), [(repeats, SAME_CALLS_MAX), (says_the_same, 0)])
def test_an_agent_that_goes_in_circles_is_ended_by_name(
    tmp_path: Path, agent: Agent, made: int
) -> None:
    async def scenario() -> None:
        target, model = CountingTarget(), ScriptedModel()
        async with world(tmp_path, {"it": agent}, [target.tool()], model=model) as w:
            await w.begin()
            async with w.working():
                events = await w.events_until_end(await w.ask("go"))
        end = events[-1]
        assert (end.type, end.payload["code"]) == ("agent_failed", "agent_looping")
        assert len(target.calls) == made
        assert made + model.requests <= STALE_STEPS_MAX + 1
        assert types(events).count("tool_executing") == types(events).count("tool_completed")
        if agent is says_the_same:
            assert end.payload["partial_answer"].startswith("AGAIN")

    asyncio.run(scenario())


def test_the_same_call_in_one_reply_is_made_three_times_at_most(tmp_path: Path) -> None:
    async def scenario() -> None:
        target = CountingTarget()
        async with world(tmp_path, {"it": repeats_in_a_reply}, [target.tool()]) as w:
            await w.begin()
            async with w.working():
                events = await w.events_until_end(await w.ask("go"))
        made = ["ok"] * SAME_CALLS_MAX + ["call_repeats"] * 2
        assert events[-1].payload["answer"] == " ".join(made)
        assert len(target.calls) == SAME_CALLS_MAX

    asyncio.run(scenario())


def test_a_helper_that_loops_is_replaced_and_its_run_goes_on(tmp_path: Path) -> None:
    async def leader(ctx: RunContext) -> Outcome:
        try:
            async with ctx.sub("helper", "Count.") as helper:
                await repeats(helper)
        except Failure as error:
            await ctx.notice("agent_failed_over", error.message, cause=error.code)
        return Outcome("without the helper", "degraded")

    async def scenario() -> None:
        async with world(tmp_path, {"it": leader}, [CountingTarget().tool()]) as w:
            await w.begin()
            async with w.working():
                events = await w.events_until_end(await w.ask("go"))
        assert payloads(events, "notice")[0]["cause"] == "agent_looping"
        assert events[-1].payload["status"] == "degraded"

    asyncio.run(scenario())


def test_agents_work_for_each_other_three_deep_and_no_deeper(tmp_path: Path) -> None:
    async def nests(ctx: RunContext) -> Outcome:
        try:
            async with ctx.sub("inner", "Go deeper.") as inner:
                return await nests(inner)
        except Failure as error:
            return Outcome(error.code)

    async def scenario() -> None:
        async with world(tmp_path, {"it": nests}) as w:
            await w.begin()
            async with w.working():
                events = await w.events_until_end(await w.ask("go"))
        assert events[-1].payload["answer"] == "agents_too_deep"
        assert types(events).count("subagent_started") == AGENTS_DEEP_MAX

    asyncio.run(scenario())


def found(text: str, call_id: str = "c1") -> ToolOutcome:
    fact = Fact(f"{call_id}.n", 1, Unit.COUNT, "n", "look", call_id, "", 1)
    return ToolOutcome(call_id, "look", ok=True, result=ToolResult(text, facts=(fact,)))


def test_the_same_call_with_another_result_is_progress() -> None:
    rule = Repetition()
    for n in range(50):
        assert rule.refuses("look", 0) is None
        rule.called("look", found(f"{n} of 50"))
        rule.check()


def test_the_same_result_counts_though_its_ids_are_others() -> None:
    rule = Repetition()
    for n in range(SAME_CALLS_MAX):
        assert rule.refuses("look", 0) is None
        rule.called("look", found("done", f"c{n}"))
    refused = rule.refuses("look", 0)
    assert refused
    assert refused.code == "call_repeats"
    assert rule.refuses("another", 0) is None


def test_steps_that_bring_nothing_new_end_the_agent_and_one_that_does_begins_anew() -> None:
    rule = Repetition()
    rule.called("look", found("done"))
    for _ in range(STALE_STEPS_MAX - 1):
        rule.called("look", ToolOutcome("c2", "look", ok=False, error=Fault("call_repeats", "")))
    rule.check()
    rule.answered("what?", "that")
    for _ in range(STALE_STEPS_MAX - 1):
        rule.answered("what?", "that")
    rule.check()
    rule.answered("what?", "that")
    with pytest.raises(Failure, match="nothing new"):
        rule.check()


def test_what_is_said_to_other_questions_is_no_repetition() -> None:
    rule = Repetition()
    for n in numbers():
        rule.answered(f"is {n} even?", "yes")
        rule.check()
        if n > 100:
            return
