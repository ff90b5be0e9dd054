"""Tools of tool servers in an analysis: models are offered them by names that providers take."""

import asyncio
from pathlib import Path

from tests.fakes.models import PartModel
from tests.world import payloads, world
from tidings.agents.loop import Assignment, specs, work
from tidings.agents.notebook import Notebook
from tidings.agents.voice import Voice
from tidings.domain.facts import ToolResult
from tidings.domain.permissions import Effect
from tidings.domain.runs import Outcome
from tidings.models.port import ModelReply, ToolCall
from tidings.models.tasks import AnalysisTask
from tidings.runs.context import RunContext
from tidings.tools.port import ToolContext, tool


@tool(name="weather.lookup", effect=Effect.READ)
async def lookup(ctx: ToolContext, city: str) -> ToolResult:
    """Tell the weather."""
    return ToolResult("weather.lookup has answered.", content=f"Rain in {city}.")


def test_a_model_calls_a_served_tool_and_reads_what_it_says(tmp_path: Path) -> None:
    wanted = ToolCall("t1", "weather__lookup", {"city": "Bergen", "purpose": "See"})
    model = PartModel(
        AnalysisTask=[ModelReply("test:parts", calls=(wanted,)), ModelReply("test:parts", "Done.")]
    )

    async def agent(ctx: RunContext) -> Outcome:
        task = Assignment("Look.", "Go on.", specs([lookup]), lambda _: _nothing(), 0.0)
        await work(ctx, Voice(), Notebook(), task)
        return Outcome("Looked.")

    async def scenario() -> None:
        async with world(tmp_path, {"it": agent}, [lookup], model=model) as built:
            await built.begin()
            async with built.working():
                events = await built.events_until_end(await built.ask("Weather?"))
        (done,) = payloads(events, "tool_completed")
        assert (done["tool"], done["ok"]) == ("weather.lookup", True)
        first, second = model.requests
        assert [spec.name for spec in first.tools] == ["weather__lookup"]
        assert second.messages[-1].tool == "weather__lookup"
        assert "Rain in Bergen." in second.messages[-1].text

    asyncio.run(scenario())


@tool(name="board.post", effect=Effect.KEYED)
async def post(ctx: ToolContext, purpose: str, purpose_of_call: str = "") -> ToolResult:
    """Post what the purpose of the meeting is."""
    return ToolResult("board.post has answered.", content=f"{purpose}/{purpose_of_call}")


def test_a_tool_with_a_purpose_of_its_own_keeps_it(tmp_path: Path) -> None:
    """Ours has another name for it, and goes to the user as that of any call."""
    wanted = {"purpose": "lunch", "purpose_of_call": "own", "purpose_of_this_call": "Tell them"}
    first = ModelReply("test:parts", calls=(ToolCall("t1", "board__post", wanted),))
    model = PartModel(AnalysisTask=[first, ModelReply("test:parts", "Done.")])

    async def agent(ctx: RunContext) -> Outcome:
        task = Assignment("Look.", "Go on.", specs([post]), lambda _: _nothing(), 0.0)
        await work(ctx, Voice(), Notebook(), task)
        return Outcome("Posted.")

    async def scenario() -> None:
        async with world(tmp_path, {"it": agent}, [post], model=model) as built:
            await built.begin()
            async with built.working():
                events = await built.events_until_end(await built.ask("Post it"))
        (executing,) = payloads(events, "tool_executing")
        assert executing["purpose"] == "Tell them"
        assert executing["arguments"] == {"purpose": "lunch", "purpose_of_call": "own"}
        (done,) = payloads(events, "tool_completed")
        assert done["result"]["content"] == "lunch/own"

    asyncio.run(scenario())


def _nothing() -> AnalysisTask:
    return AnalysisTask("Weather?", None, None, ())  # type: ignore[arg-type]
