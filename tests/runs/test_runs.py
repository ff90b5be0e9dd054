"""A run's life: every step once, one end, within its time, whatever the agent does."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.models import ScriptedModel, says
from tests.runs.failing_writes import Wrap, each_write_fails, insisting
from tests.world import payloads, types, world
from tidings.domain.errors import (
    Failure,
)
from tidings.domain.facts import Fact, ToolResult, Unit
from tidings.domain.permissions import Effect
from tidings.domain.runs import Outcome
from tidings.models.port import ModelReply, ModelRequest, OnText
from tidings.runs.context import RunContext
from tidings.runs.port import Agent
from tidings.runs.queue import Limits
from tidings.tools.port import Tool, ToolContext, tool


class Counter:
    """A tool whose target counts how often it was really called."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.gate: Callable[[], Awaitable[None]] | None = None

    def tool(self, *, effect: Effect = Effect.READ) -> Tool:
        @tool(name="count", effect=effect, trusted=True)
        async def count(ctx: ToolContext, text: str = "") -> ToolResult:
            """Count something."""
            self.calls.append(ctx.idempotency_key)
            if self.gate is not None:
                await self.gate()
            fact = Fact(
                f"{ctx.call_id}.n", len(text), Unit.COUNT, "letters", "count", ctx.call_id, "", 1
            )
            return ToolResult("Counted.", facts=(fact,))

        return count


async def diligent(ctx: RunContext) -> Outcome:
    """Does a bit of everything."""
    await ctx.plan("Count and say.", ["count", "say"])
    await ctx.think("First I count.", 0.1)
    async with ctx.sub("helper", "Count the letters.") as helper:
        outcome = await helper.tool("count", {"text": ctx.request.text}, purpose="to know")
        await helper.complete("Counted.")
    assert outcome.ok
    async with ctx.sub("writer", "Write the answer.") as writer:
        pieces: list[str] = []

        async def on_text(piece: str) -> None:
            pieces.append(piece)
            await writer.delta("answer", piece)

        reply = await writer.model(says(ctx.request.text), on_text=on_text)
    return Outcome(f"{reply.text} ({ctx.facts['c1.n'].value})")


EXPECTED = [
    "message_received",
    "agent_started",
    "agent_thinking",
    "subagent_started",
    "tool_executing",
    "tool_completed",
    "subagent_completed",
    "subagent_started",
    "answer_delta",
    "subagent_completed",
    "agent_completed",
]


def test_a_run_tells_its_story_in_order_and_ends_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        counter = Counter()
        async with world(tmp_path, {"diligent": diligent}, [counter.tool()]) as w:
            await w.begin()
            async with w.working():
                receipt = await w.ask("hello you")
                events = await w.events_until_end(receipt)
            assert types(events) == EXPECTED
            assert [e.offset for e in events] == list(range(1, len(EXPECTED) + 1))
            assert events[-1].payload["answer"] == "HELLO YOU (9)"
            assert events[-1].payload["usage"]["model_requests"] == 1
            assert payloads(events, "answer_delta") == [
                {"message_id": "answer.1", "text": "HELLO YOU "}
            ]
            (executing,), (completed,) = (
                payloads(events, "tool_executing"),
                payloads(events, "tool_completed"),
            )
            assert executing["call_id"] == completed["call_id"] == "c1"
            assert counter.calls == [f"{receipt.run_id}/c1"]

    asyncio.run(scenario())


@pytest.mark.parametrize("after", [False, True], ids=["not-written", "reply-lost"])
def test_whichever_transaction_fails_nothing_is_lost_or_told_twice(
    tmp_path: Path, after: bool
) -> None:
    """The n-th write fails, for every n of a whole run; the client repeats its command."""

    async def survives(path: Path, wrap: Wrap) -> None:
        counter = Counter()
        async with world(path, {"diligent": diligent}, [counter.tool()], wrap=wrap) as w:
            await w.begin()
            async with w.working():
                receipt = await insisting(lambda: w.ask("hello you", id="cmd-1"))
                events = await w.events_until_end(receipt)
            without_repeats = [t for t in types(events) if t != "answer_delta"]
            assert without_repeats == [t for t in EXPECTED if t != "answer_delta"]
            assert [e.offset for e in events] == list(range(1, len(events) + 1))
            assert len({e.event_id for e in events}) == len(events)
            assert events[-1].payload["answer"] == "HELLO YOU (9)"
            assert len(counter.calls) <= 2
            assert set(counter.calls) == {f"{receipt.run_id}/c1"}

    asyncio.run(each_write_fails(tmp_path, survives, after=after, writes_min=6))


def test_a_restart_goes_on_behind_the_last_recorded_step(tmp_path: Path) -> None:
    """The process 'dies' inside the second tool call; the first is not called again."""

    async def two_calls(ctx: RunContext) -> Outcome:
        await ctx.tool("count", {"text": "a"}, purpose="first")
        second = await ctx.tool("count", {"text": "bb"}, purpose="second")
        reply = await ctx.model(says("done"))
        return Outcome(f"{reply.text} {second.ok} {second.error and second.error.code}")

    async def scenario(effect: Effect, answer: str, calls: int) -> None:
        path = tmp_path / effect
        path.mkdir()
        counter = Counter()
        inside = asyncio.Event()

        async def hang_in_second() -> None:
            if len(counter.calls) == 2:
                inside.set()
                await asyncio.Event().wait()

        counter.gate = hang_in_second
        tools = [counter.tool(effect=effect)]
        async with world(path, {"two": two_calls}, tools) as w:
            await w.begin()
            async with w.working():
                receipt = await w.ask("go")
                await inside.wait()
        counter.gate = None
        async with world(path, {"two": two_calls}, tools) as w:
            await w.begin()
            async with w.working():
                events = await w.events_until_end(receipt)
        assert events[-1].payload["answer"] == answer
        assert len(counter.calls) == calls
        called = [p["call_id"] for p in payloads(events, "tool_executing")]
        ended = [p["call_id"] for p in payloads(events, "tool_completed")]
        assert called == ended == ["c1", "c2"]

    asyncio.run(scenario(Effect.READ, answer="DONE True None", calls=3))
    asyncio.run(scenario(Effect.WRITE, answer="DONE False outcome_unknown", calls=2))


def test_a_models_failure_is_remembered_as_its_answer_would_be(tmp_path: Path) -> None:
    class FailingModel(ScriptedModel):
        async def respond(self, request: ModelRequest, on_text: OnText) -> ModelReply:
            self.requests += 1
            raise Failure("model_unavailable", "Not now.")

    async def asks_and_waits(ctx: RunContext) -> Outcome:
        with pytest.raises(Failure, match="Not now"):
            await ctx.model(says("hello"))
        outcome = await ctx.tool("count", {}, purpose="to wait")
        return Outcome(f"carried on {outcome.ok}")

    async def scenario() -> None:
        model, counter, inside = FailingModel(), Counter(), asyncio.Event()

        async def hang() -> None:
            inside.set()
            await asyncio.Event().wait()

        counter.gate = hang
        agents: dict[str, Agent] = {"it": asks_and_waits}
        async with world(tmp_path, agents, [counter.tool()], model=model) as w:
            await w.begin()
            async with w.working():
                receipt = await w.ask("go")
                await inside.wait()
        counter.gate = None
        async with world(tmp_path, agents, [counter.tool()], model=model) as w:
            await w.begin()
            async with w.working():
                events = await w.events_until_end(receipt)
        assert events[-1].payload["answer"] == "carried on True"
        assert model.requests == 1

    asyncio.run(scenario())


def test_a_model_that_hangs_leaves_time_for_something_else(tmp_path: Path) -> None:
    class HangingModel(ScriptedModel):
        async def respond(self, request: ModelRequest, on_text: OnText) -> ModelReply:
            await asyncio.Event().wait()
            raise AssertionError

    async def copes(ctx: RunContext) -> Outcome:
        try:
            return Outcome((await ctx.model(says("hello"))).text)
        except Failure as error:
            return Outcome(error.code, status="degraded")

    async def scenario() -> None:
        limits = Limits(run_seconds=3.0)
        async with world(tmp_path, {"it": copes}, model=HangingModel(), limits=limits) as w:
            await w.begin()
            async with w.working():
                events = await w.events_until_end(await w.ask("go"))
        assert events[-1].type == "agent_completed"
        assert events[-1].payload["answer"] == "model_timeout"

    asyncio.run(scenario())


def end_of(agent: Any, tmp_path: Path, limits: Limits | None = None) -> list[Any]:
    async def scenario() -> list[Any]:
        async with world(tmp_path, {"it": agent}, limits=limits) as w:
            await w.begin()
            async with w.working():
                return await w.events_until_end(await w.ask("go"))

    return asyncio.run(scenario())


def test_a_silent_agent_is_announced_and_ends_at_its_deadline(tmp_path: Path) -> None:
    async def sleeps(ctx: RunContext) -> Outcome:
        await asyncio.Event().wait()
        return Outcome("never")

    events = end_of(sleeps, tmp_path, Limits(run_seconds=1.5))
    assert types(events) == ["message_received", "agent_started", "agent_failed"]
    assert events[-1].payload["code"] == "deadline_exceeded"


def test_an_agent_that_refuses_to_stop_does_not_keep_its_run_open(tmp_path: Path) -> None:
    async def stubborn(ctx: RunContext) -> Outcome:
        for _ in range(30):
            try:
                await asyncio.sleep(0.1)
            except asyncio.CancelledError:
                continue
        return Outcome("too late")

    events = end_of(stubborn, tmp_path, Limits(run_seconds=0.2))
    assert events[-1].type == "agent_failed"


def test_an_agents_typed_failure_reaches_the_user(tmp_path: Path) -> None:
    async def fails(ctx: RunContext) -> Outcome:
        raise Failure("model_unavailable", "The model does not answer.")

    events = end_of(fails, tmp_path)
    assert types(events) == ["message_received", "agent_started", "agent_failed"]
    assert events[-1].payload["code"] == "model_unavailable"


def test_an_agents_defect_ends_its_run_and_tells_nothing_of_its_inside(tmp_path: Path) -> None:
    async def broken(ctx: RunContext) -> Outcome:
        raise ZeroDivisionError("secret detail")

    events = end_of(broken, tmp_path)
    assert events[-1].type == "agent_failed"
    assert events[-1].payload["code"] == "internal"
    assert "secret" not in str(events)


def test_a_tool_that_breaks_is_an_outcome_and_the_run_goes_on(tmp_path: Path) -> None:
    @tool(effect=Effect.READ, deadline_seconds=0.1)
    async def hangs(ctx: ToolContext) -> ToolResult:
        """Hang."""
        await asyncio.Event().wait()
        return ToolResult("")

    @tool(effect=Effect.READ)
    async def breaks(ctx: ToolContext) -> ToolResult:
        """Break."""
        raise KeyError("inside")

    async def tries(ctx: RunContext) -> Outcome:
        calls = [("hangs", {}), ("breaks", {}), ("nothing", {}), ("breaks", {"odd": 1})]
        outcomes = [await ctx.tool(name, args, purpose="try") for name, args in calls]
        return Outcome(" ".join(o.error.code for o in outcomes if o.error))

    async def scenario() -> None:
        async with world(tmp_path, {"tries": tries}, [hangs, breaks]) as w:
            await w.begin()
            async with w.working():
                events = await w.events_until_end(await w.ask("go"))
        answer = "tool_timeout tool_failed unknown_tool invalid_arguments"
        assert events[-1].payload["answer"] == answer
        assert [p["ok"] for p in payloads(events, "tool_completed")] == [False] * 4

    asyncio.run(scenario())
