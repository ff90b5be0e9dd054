"""A run that ends early leaves nothing open: every call and every agent is told to have ended."""

import asyncio
from pathlib import Path

import pytest

from tests.world import ANA, types, world
from tidings.domain.commands import StopAgent, StopPayload
from tidings.domain.errors import Failure
from tidings.domain.facts import ToolResult
from tidings.domain.proof import Proof
from tidings.domain.runs import Outcome
from tidings.runs.context import RunContext
from tidings.runs.queue import Limits
from tidings.tools.port import ToolContext, tool


class NotForeseen(Exception):
    """Something that nobody has thought of."""


@pytest.mark.parametrize("how", ["stopped", "out of time", "a defect of the tool"])
def test_calls_and_agents_that_are_open_at_the_end_are_closed(tmp_path: Path, how: str) -> None:
    called = asyncio.Event()

    @tool(name="endless")
    async def endless(ctx: ToolContext) -> ToolResult:
        """Never end."""
        called.set()
        if how == "a defect of the tool":
            raise NotForeseen
        await asyncio.Event().wait()
        raise Failure("never", "Never.")

    async def agent(ctx: RunContext) -> Outcome:
        async with ctx.sub("outer", "Work.") as outer:
            await outer.think("Calling.", 0.1)
            async with outer.sub("inner", "Work harder.") as inner:
                await inner.tool("endless", {}, purpose="to wait")
        return Outcome("never")

    async def scenario() -> None:
        limits = Limits(run_seconds=2 if how == "out of time" else 60)
        async with world(tmp_path, {"it": agent}, [endless], limits=limits) as w:
            await w.begin()
            async with w.working():
                asked = await w.ask("go")
                await called.wait()
                if how == "stopped":
                    stop = StopAgent(w.ids.new("m"), StopPayload(asked.run_id))
                    await w.router.accept(ANA, stop)
                events = await w.events_until_end(asked)
        end = "agent_cancelled" if how == "stopped" else "agent_failed"
        assert types(events)[2:] == [
            "subagent_started",
            "agent_thinking",
            "subagent_started",
            "tool_executing",
            "tool_completed",
            "subagent_completed",
            "subagent_completed",
            end,
        ]
        call, inner, outer, last = events[-4:]
        assert call.payload["call_id"] == "c1"
        assert call.payload["error"]["code"] in {"cut_short", "tool_timeout"}
        assert (inner.agent, outer.agent) == ("inner", "outer")
        assert not any(event.payload["ok"] for event in (call, inner, outer))
        proof = Proof()
        for event in events:
            proof = proof.with_event(event.offset, event.event_id, event.type)
        assert last.payload["proof"] == {"count": proof.count, "digest": proof.digest}

    asyncio.run(scenario())
