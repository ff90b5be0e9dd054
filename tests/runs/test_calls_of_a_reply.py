"""The calls of one reply: side by side, decided in order, each its own step, none done twice."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.models import says
from tests.runs.test_budgets import plan
from tests.world import ANA, World, payloads, types, world
from tidings.domain.commands import Approve, ApprovePayload, Receipt
from tidings.domain.events import Event
from tidings.domain.facts import ToolResult
from tidings.domain.permissions import Effect
from tidings.domain.runs import Outcome
from tidings.models.replies import CALLS_PER_REPLY_MAX
from tidings.runs.context import RunContext
from tidings.runs.outcomes import ToolOutcome
from tidings.runs.rulings import ToolRequest
from tidings.runs.work import CALLS_AT_ONCE_MAX
from tidings.tools.port import Tool, ToolContext, tool


class Desk:
    """Tools whose target counts; `held` ones do not come back before `gate` opens."""

    def __init__(self, *held: str) -> None:
        self.done: list[str] = []
        self.at_once = self.at_once_most = 0
        self.held = held
        self.gate = asyncio.Event()
        self.inside = asyncio.Event()
        self.full = asyncio.Event()

    async def visit(self, what: str, ctx: ToolContext) -> ToolResult:
        self.at_once += 1
        self.at_once_most = max(self.at_once_most, self.at_once)
        try:
            self.done.append(f"{what} {ctx.call_id}")
            if self.at_once == CALLS_AT_ONCE_MAX:
                self.full.set()
            if what in self.held:
                self.inside.set()
                await self.gate.wait()
            else:
                await asyncio.sleep(0.002)
        finally:
            self.at_once -= 1
        return ToolResult(what)

    def tools(self) -> tuple[Tool, ...]:
        @tool(effect=Effect.READ, trusted=True)
        async def look(ctx: ToolContext, what: str) -> ToolResult:
            """Look at something of ours."""
            return await self.visit(what, ctx)

        @tool(effect=Effect.READ)
        async def fetch(ctx: ToolContext, what: str) -> ToolResult:
            """Fetch what somebody else has written."""
            return await self.visit(what, ctx)

        @tool(trusted=True)
        async def pay(ctx: ToolContext, what: str) -> ToolResult:
            """Pay for something."""
            return await self.visit(what, ctx)

        return look, fetch, pay


def wants(*calls: str) -> list[ToolRequest]:
    """Return requests from `tool what`."""
    return [ToolRequest(c.split()[0], {"what": c.split()[1]}, "to see") for c in calls]


async def nothing() -> int:
    return 0


def ends(outcomes: Sequence[ToolOutcome]) -> str:
    return " ".join(o.error.code if o.error else "ok" for o in outcomes)


def replies(*rounds: Sequence[ToolRequest]) -> Any:
    """Return an agent that makes these calls, reply by reply, and says how they ended."""

    async def agent(ctx: RunContext) -> Outcome:
        return Outcome("; ".join([ends(await ctx.tools(round_)) for round_ in rounds]))

    return agent


async def run(w: World) -> list[Event]:
    async with w.working():
        return await w.events_until_end(await w.ask("go"))


def check_calls(events: list[Event], ids: list[str]) -> None:
    """Check that every call begins once and then ends once, the first beginnings in order."""
    for call_id in ids:
        own = [e.type for e in events if e.payload.get("call_id") == call_id]
        own = [t for t in own if t != "approval_required"]
        assert own == ["tool_executing", "tool_completed"], call_id
    begun = [p["call_id"] for p in payloads(events, "tool_executing")]
    assert begun == ids


def test_calls_of_a_reply_are_made_side_by_side_but_not_too_many(tmp_path: Path) -> None:
    async def scenario() -> None:
        names = [f"n{n}" for n in range(20)]
        desk = Desk(*names)
        many = wants(*(f"look {name}" for name in names))
        async with world(tmp_path, {"it": replies(many)}, desk.tools()) as w:
            await w.begin()
            async with w.working():
                receipt = await w.ask("go")
                full = ["tool_executing"] * CALLS_AT_ONCE_MAX
                await w.events_until(receipt, lambda e: types(e)[-CALLS_AT_ONCE_MAX:] == full)
                await desk.full.wait()
                desk.gate.set()
                events = await w.events_until_end(receipt)
        assert desk.at_once_most == CALLS_AT_ONCE_MAX
        check_calls(events, [f"c{n}" for n in range(1, 21)])
        assert events[-1].payload["answer"] == " ".join(["ok"] * 20)

    asyncio.run(scenario())


def test_a_crash_in_a_reply_repeats_only_what_may_be_repeated(tmp_path: Path) -> None:
    """Of four calls one had ended, a payment and a look are under way, a payment waits its turn."""
    calls = wants("look a", "pay b", "look b", "look c")

    async def scenario() -> None:
        desk = Desk("b")
        async with world(tmp_path, {"it": replies(calls)}, desk.tools()) as w:
            await w.begin()
            async with w.working():
                receipt = await w.ask("go")
                await w.events_until(receipt, lambda e: types(e).count("tool_completed") == 2)
        assert sorted(desk.done) == ["a c1", "b c2", "b c3", "c c4"]
        again = Desk()
        async with world(tmp_path, {"it": replies(calls)}, again.tools()) as w:
            await w.begin()
            async with w.working():
                events = await w.events_until_end(receipt)
        assert again.done == ["b c3"]
        assert events[-1].payload["answer"] == "ok outcome_unknown ok ok"
        check_calls(events, ["c1", "c2", "c3", "c4"])

    asyncio.run(scenario())


def test_a_reply_is_judged_by_what_was_seen_before_it(tmp_path: Path) -> None:
    """Its calls were written before one of them brought something from outside; later ones ask."""

    async def scenario() -> None:
        desk = Desk()
        rounds = replies(wants("fetch a", "pay b"), wants("pay c", "look d"))
        async with world(tmp_path, {"it": rounds}, desk.tools()) as w:
            await w.begin()
            async with w.working():
                receipt = await w.ask("go")
                events = await w.events_until(receipt, lambda e: e[-1].type == "approval_required")
                assert sorted(desk.done) == ["a c1", "b c2", "d c4"]
                assert events[-1].payload["call_id"] == "c3"
                await w.router.accept(ANA, leave(receipt, events[-1]))
                events = await w.events_until_end(receipt)
        assert sorted(desk.done) == ["a c1", "b c2", "c c3", "d c4"]
        assert events[-1].payload["answer"] == "ok ok; ok ok"
        check_calls(events, ["c1", "c2", "c4", "c3"])

    asyncio.run(scenario())


async def both_asked(w: World, receipt: Receipt) -> list[Event]:
    return await w.events_until(receipt, lambda e: types(e).count("approval_required") == 2)


def leave(receipt: Receipt, asked: Event, id: str = "ok-1", decision: Any = "allow") -> Approve:
    call_id, digest = asked.payload["call_id"], asked.payload["arguments_hash"]
    return Approve(id, ApprovePayload(receipt.run_id, call_id, decision, digest))


def test_a_call_that_needs_leave_waits_until_the_others_have_ended(tmp_path: Path) -> None:
    """So that none of them is cut off by the wait; then two of them ask at once."""

    async def scenario() -> None:
        desk = Desk("slow")
        calls = replies(wants("pay a", "look slow", "pay b"))
        async with world(tmp_path, {"it": calls}, desk.tools()) as w:
            await w.begin()
            await w.own_file("f1", ANA)
            async with w.working():
                receipt = await w.ask("go", files=("f1",))
                await desk.inside.wait()
                assert desk.done == ["slow c2"]
                desk.gate.set()
                asked = await both_asked(w, receipt)
                assert types(asked)[-5:] == [
                    "tool_completed",
                    "tool_executing",
                    "tool_executing",
                    "approval_required",
                    "approval_required",
                ]
                assert [p["together"] for p in payloads(asked, "approval_required")] == [2, 2]
                await w.router.accept(ANA, leave(receipt, asked[-1], "ok-2", "deny"))
                assert (await w.reads.run(ANA, receipt.run_id))["state"] == "waiting"
                await w.router.accept(ANA, leave(receipt, asked[-2]))
                events = await w.events_until_end(receipt)
        assert desk.done == ["slow c2", "a c1"]
        assert events[-1].payload["answer"] == "ok ok approval_denied"
        check_calls(events, ["c2", "c1", "c3"])

    asyncio.run(scenario())


def test_a_reply_for_which_there_is_no_room_is_not_begun(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = Desk()
        rounds = replies(wants("look a"), wants("look b", "pay c", "look d"))
        async with world(tmp_path, {"it": rounds}, desk.tools(), plans=plan(run_tool_calls=3)) as w:
            await w.begin()
            events = await run(w)
        assert desk.done == ["a c1"]
        assert (events[-1].type, events[-1].payload["limit"]) == (
            "agent_cancelled",
            "run_tool_calls",
        )

    asyncio.run(scenario())


def test_a_day_that_ends_in_a_reply_lets_the_others_come_to_their_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = Desk()
        rounds = replies(wants("look a", "look b", "look c"))
        async with world(tmp_path, {"it": rounds}, desk.tools(), plans=plan(day_tool_calls=2)) as w:
            await w.begin()
            events = await run(w)
        assert desk.done == ["a c1", "b c2"]
        assert events[-1].payload["limit"] == "day_tool_calls"
        ended = [p for p in payloads(events, "tool_completed") if p["ok"]]
        assert [p["call_id"] for p in ended] == ["c1", "c2"]

    asyncio.run(scenario())


def test_hundreds_of_calls_in_a_reply_are_answered_and_not_made(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = Desk()
        many = wants(*(f"look n{n}" for n in range(500)))
        async with world(tmp_path, {"it": replies(many)}, desk.tools()) as w:
            await w.begin()
            events = await run(w)
        assert len(desk.done) == CALLS_PER_REPLY_MAX
        told = events[-1].payload["answer"].split()
        assert told.count("ok") == CALLS_PER_REPLY_MAX
        assert told.count("too_many_calls") == 500 - CALLS_PER_REPLY_MAX

    asyncio.run(scenario())


def test_arguments_of_ten_megabytes_or_no_json_are_refused_and_not_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = Desk()
        odd = [
            ToolRequest("look", {"what": "x" * 10_000_000}, "p" * 10_000_000),
            ToolRequest("look", {"what": object()}, "to see"),
            ToolRequest("l" * 10_000_000, {}, "to see"),
        ]
        async with world(tmp_path, {"it": replies(odd)}, desk.tools()) as w:
            await w.begin()
            events = await run(w)
        assert events[-1].payload["answer"] == "arguments_too_large invalid_arguments unknown_tool"
        assert all(len(str(event.payload)) < 10_000 for event in events)
        assert desk.done == []

    asyncio.run(scenario())


@pytest.mark.parametrize("wants", ["a tool", "the model", "an answer", "a step", "an agent"])
def test_a_tool_has_no_steps_of_its_run(tmp_path: Path, wants: str) -> None:
    """It would not be repeated with its call, so the numbers of later calls would be others."""

    async def agent(ctx: RunContext) -> Outcome:
        @tool(effect=Effect.READ)
        async def outer(_: ToolContext) -> ToolResult:
            """Call another."""
            match wants:
                case "a tool":
                    await ctx.tool("look", {"what": "a"}, purpose="to see")
                case "the model":
                    await ctx.model(says("hello"))
                case "an answer":
                    await ctx.ask("Well?")
                case "a step":
                    await ctx.step("once", nothing, int)
                case _:
                    async with ctx.sub("inner", "Work."):
                        pass
            return ToolResult("It was done.")

        return Outcome(ends([await ctx.tool(outer, {}, purpose="to nest")]))

    async def scenario() -> None:
        desk = Desk()
        async with world(tmp_path, {"it": agent}, desk.tools()) as w:
            await w.begin()
            events = await run(w)
        assert events[-1].payload["answer"] == "step_within_call"
        assert desk.done == []

    asyncio.run(scenario())


def test_calls_of_a_framework_are_numbered_by_their_places_in_the_reply(tmp_path: Path) -> None:
    """Whoever makes them one by one, and in whatever order, takes their ids before."""

    async def agent(ctx: RunContext) -> Outcome:
        ids = ctx.call_ids(3)
        async with asyncio.TaskGroup() as tasks:
            for name, id_ in reversed(list(zip("abc", ids, strict=True))):
                request = ctx.tool("look", {"what": name}, purpose="to see", call_id=id_)
                tasks.create_task(request)
        return Outcome("done")

    async def scenario() -> None:
        desk = Desk()
        async with world(tmp_path, {"it": agent}, desk.tools()) as w:
            await w.begin()
            events = await run(w)
        assert desk.done == ["c c3", "b c2", "a c1"]
        assert len(payloads(events, "tool_completed")) == 3

    asyncio.run(scenario())
