"""What authors test with: it tells a run as it is, and finds what does things twice."""

import pytest

from examples import tested_agent
from tidings.authoring import Effect, Outcome, RunContext, ToolContext, ToolResult, tool
from tidings.testing import Rehearsal, Script, crash_everywhere, nobody, rehearse


def test_the_example_pays() -> None:
    tested_agent.test_it_pays()


def test_the_example_pays_once_wherever_the_server_dies() -> None:
    tested_agent.test_it_pays_once_wherever_the_server_dies()


def test_what_a_run_asks_is_answered_by_a_person() -> None:
    async def asks(ctx: RunContext) -> Outcome:
        return Outcome(await ctx.ask("Which size?", {"type": "string"}))

    story = rehearse(Rehearsal(asks, person=lambda asked: asked.payload["question"][-5:-1]))
    assert story.answer == "size"
    with pytest.raises(ExceptionGroup) as alone:
        rehearse(Rehearsal(asks, person=nobody))
    assert "nobody answers" in repr(alone.value)


def test_a_script_that_ends_is_a_named_fault() -> None:
    story = rehearse(Rehearsal(tested_agent.cashier, model=Script()))
    assert (story.status, story.end.payload["code"]) == ("failed", "script_ended")


def test_an_effect_that_is_repeated_is_found_by_the_author() -> None:
    """A tool that says it may be repeated, and pays each time: its target tells."""
    paid: list[str] = []

    @tool(effect=Effect.READ)
    async def look(ctx: ToolContext) -> ToolResult:
        """Look, it says."""
        paid.append(ctx.run_id)
        return ToolResult("Seen.")

    async def agent(ctx: RunContext) -> Outcome:
        await ctx.tool("look", {}, purpose="to see")
        return Outcome("done")

    crashes = crash_everywhere(lambda: Rehearsal(agent, tools=[look]))
    runs = [crash.story.end.run_id for crash in crashes]
    assert max(paid.count(str(run)) for run in runs) == 2
