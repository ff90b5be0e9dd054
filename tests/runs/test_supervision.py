"""An agent that says nothing is spoken for; one that hangs or loops does not take its run along."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.runs.test_runs import Counter as CountingTarget
from tests.world import payloads, types, world
from tidings.domain.errors import DeadlineExceeded
from tidings.domain.events import Event
from tidings.domain.runs import Outcome
from tidings.runs.context import RunContext
from tidings.runs.execution import PROGRESS_SECONDS


async def slow(ctx: RunContext) -> Outcome:
    await ctx.think("I count.", 0.4)
    done = await ctx.tool("count", {"text": "x"}, purpose="slowly")
    await ctx.think("I have counted.", 0.8)
    return Outcome(f"{done.ok}")


def spoken_for(events: list[Event]) -> list[dict[str, Any]]:
    return [e.payload for e in events if e.type == "agent_thinking" and "elapsed" in e.payload]


def test_the_worker_speaks_for_an_agent_that_is_at_a_long_step(tmp_path: Path) -> None:
    """It is durable, and an attempt after a crash tells nothing twice because of it."""

    async def scenario() -> None:
        target = CountingTarget()

        async def hang() -> None:
            await asyncio.Event().wait()

        target.gate = hang
        async with world(tmp_path, {"slow": slow}, [target.tool()]) as w:
            await w.begin()
            async with w.working():
                receipt = await w.ask("go")
                events = await w.events_until(receipt, lambda e: len(spoken_for(e)) == 2)
        first, second = spoken_for(events)
        assert first["progress"] == 0.4
        assert "count" in first["reasoning"]
        assert PROGRESS_SECONDS * 0.9 < first["elapsed"] < second["elapsed"]
        target.gate = None
        async with world(tmp_path, {"slow": slow}, [target.tool()]) as w:
            await w.begin()
            async with w.working():
                events = await w.events_until_end(receipt)
        own = [e for e in events if "elapsed" not in e.payload]
        assert types(own) == [
            "message_received",
            "agent_started",
            "agent_thinking",
            "tool_executing",
            "tool_completed",
            "agent_thinking",
            "agent_completed",
        ]
        assert len(spoken_for(events)) == 2
        assert events[-1].payload["proof"]["count"] == len(events) - 2

    asyncio.run(scenario())


@pytest.mark.parametrize("how", ["hangs in a tool", "hangs by itself"])
def test_an_agent_that_is_not_done_in_its_time_is_replaced_and_its_run_goes_on(
    tmp_path: Path, how: str
) -> None:
    """Whoever leads it, not the analysis alone; its open call is told to have ended."""
    target = CountingTarget()

    async def hang() -> None:
        await asyncio.Event().wait()

    target.gate = hang

    async def leader(ctx: RunContext) -> Outcome:
        try:
            async with ctx.sub("helper", "Help.", seconds=0.3) as helper:
                await helper.think("I begin.", 0.1)
                if how == "hangs by itself":
                    await hang()
                await helper.tool("count", {"text": "x"}, purpose="for ever")
        except DeadlineExceeded as error:
            await ctx.notice("agent_failed_over", error.message, cause=error.code)
        return Outcome("without the helper", "degraded")

    async def scenario() -> list[Event]:
        async with world(tmp_path, {"it": leader}, [target.tool()]) as w:
            await w.begin()
            async with w.working():
                return await w.events_until_end(await w.ask("go"))

    events = asyncio.run(scenario())
    (notice,) = payloads(events, "notice")
    assert notice["cause"] == "agent_timeout"
    assert (events[-1].payload["answer"], events[-1].payload["status"]) == (
        "without the helper",
        "degraded",
    )
    assert payloads(events, "subagent_completed")[0]["ok"] is False
    assert types(events).count("tool_executing") == types(events).count("tool_completed")


def test_an_agent_whose_own_patience_ends_is_not_said_to_have_had_its_time(tmp_path: Path) -> None:
    async def leader(ctx: RunContext) -> Outcome:
        try:
            async with ctx.sub("helper", "Help.", seconds=30), asyncio.timeout(0.05):
                await asyncio.Event().wait()
        except TimeoutError:
            return Outcome("it had no patience")
        raise AssertionError

    async def scenario() -> Event:
        async with world(tmp_path, {"it": leader}) as w:
            await w.begin()
            async with w.working():
                return (await w.events_until_end(await w.ask("go")))[-1]

    assert asyncio.run(scenario()).payload["answer"] == "it had no patience"
