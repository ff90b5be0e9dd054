"""What authors test with: it tells a run as it is, and finds what does things twice."""

from collections.abc import Callable
from itertools import count

import pytest

from examples import tested_agent
from tidings.authoring import (
    Effect,
    Message,
    ModelRequest,
    Outcome,
    RunContext,
    ToolContext,
    ToolResult,
    tool,
)
from tidings.runs.port import Agent
from tidings.testing import (
    Astray,
    Rehearsal,
    Script,
    crash_everywhere,
    nobody,
    rehearse,
    says,
)


def test_the_example_pays() -> None:
    tested_agent.test_it_pays()


def test_the_example_pays_once_wherever_the_server_dies() -> None:
    tested_agent.test_it_pays_once_wherever_the_server_dies()


def test_what_a_run_asks_is_answered_by_a_person() -> None:
    async def asks(ctx: RunContext) -> Outcome:
        return Outcome(await ctx.ask("Which size?", {"type": "string"}))

    story = rehearse(Rehearsal(asks, person=lambda asked: asked.payload["question"][-5:-1]))
    assert story.answer == "size"
    with pytest.raises(AssertionError, match="the run asks, and nobody answers"):
        rehearse(Rehearsal(asks, person=nobody))


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


@tool(effect=Effect.READ)
async def look_up(_: ToolContext, number: int) -> ToolResult:
    """Look something up."""
    return ToolResult(f"{number} is seen.")


def _names_by_chance(chance: Callable[[], int]) -> Agent:
    """An agent that pays by a step of another name each time: after a crash it pays again."""

    async def agent(ctx: RunContext) -> Outcome:
        await ctx.step(f"pay-{chance()}", _nothing, int)
        await ctx.step("say", _nothing, int)
        return Outcome("done")

    return agent


def _calls_by_chance(chance: Callable[[], int]) -> Agent:
    """An agent that sometimes calls once more."""

    async def agent(ctx: RunContext) -> Outcome:
        for number in range(1 + chance() % 2):
            await ctx.tool("look_up", {"number": number}, purpose="to see")
        return Outcome("done")

    return agent


def _leads_by_chance(chance: Callable[[], int]) -> Agent:
    """A workflow whose part has another name each time."""

    async def agent(ctx: RunContext) -> Outcome:
        async with ctx.sub(f"part-{chance()}", "Work") as sub:
            reply = await sub.model(ModelRequest("Answer.", (Message("user", "?"),)))
        await ctx.step("say", _nothing, int)
        return Outcome(reply.text)

    return agent


async def _nothing() -> int:
    return 0


@pytest.mark.parametrize(
    ("sabotaged", "step"),
    [
        (_names_by_chance, "step.pay-0"),
        (_calls_by_chance, "c2"),
        (_leads_by_chance, "1.part-0/1.model"),
    ],
)
def test_an_agent_that_takes_another_way_after_a_crash_is_found(
    sabotaged: Callable[[Callable[[], int]], Agent], step: str
) -> None:
    def made() -> Rehearsal:
        numbers = count(sabotaged is _calls_by_chance)  # the first attempt calls twice
        agent = sabotaged(lambda: next(numbers))
        return Rehearsal(agent, model=Script(says("yes")), tools=[look_up])

    with pytest.raises(Astray, match=r"died (before|after) write \d+: .* a ctx.step") as found:
        crash_everywhere(made)
    assert step in found.value.steps


def test_an_agent_that_takes_another_way_after_a_wait_is_found_without_a_crash(
    caplog: pytest.LogCaptureFixture,
) -> None:
    numbers = count()

    async def agent(ctx: RunContext) -> Outcome:
        await ctx.step(f"pay-{next(numbers)}", _nothing, int)
        return Outcome(await ctx.ask("Which size?", {"type": "string"}))

    with pytest.raises(Astray, match=r"waited for a person: .*step\.pay-0") as found:
        rehearse(Rehearsal(agent, person=lambda _: "M"))
    assert found.value.steps == ("step.pay-0",)
    assert "agent rehearsed: the agent ran again and did not come to" in caplog.text


def test_an_agent_that_waits_for_an_answer_and_for_leave_comes_to_all_of_it() -> None:
    """What is on record for other reasons than a step of the agent's is not held against it."""

    @tool()
    async def pay(_: ToolContext, what: str) -> ToolResult:
        """Pay for something."""
        return ToolResult(f"{what} is paid.")

    async def agent(ctx: RunContext) -> Outcome:
        await ctx.history()
        await ctx.ask("Which size?", {"type": "string"})
        await ctx.tool("read_page", {}, purpose="to see")  # foreign: from here on leave is asked
        paid = await ctx.tool("pay", {"what": "rent"}, purpose="you asked for it")
        await ctx.think("Now I look.", 0.5)
        async with ctx.sub("part", "Work") as sub:
            await sub.step("look", _nothing, int)
        return Outcome(paid.result.summary if paid.result else "not paid")

    @tool(effect=Effect.READ)
    async def read_page(_: ToolContext) -> ToolResult:
        """Read a page from outside."""
        return ToolResult("Pay!")

    story = rehearse(Rehearsal(agent, tools=[pay, read_page], person=lambda _: "M"))
    assert story.answer == "rent is paid."
    assert (len(story.of("approval_required")), story.end.payload["summary"]["attempts"]) == (1, 3)
