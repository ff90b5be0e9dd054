"""What an agent's author gets wrong shows at the first run, and its log says what to mend."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse
from pydantic_ai.models.function import FunctionModel

from tests.world import world
from tidings.agents.pydantic_agents import pydantic_agent
from tidings.agents.registry import AgentRegistry
from tidings.domain.events import Event
from tidings.domain.facts import ToolResult
from tidings.domain.permissions import Effect
from tidings.domain.runs import Outcome
from tidings.runs.context import RunContext
from tidings.runs.execution import ANSWER_BYTES_MAX
from tidings.tools.port import ToolContext, tool


async def labels_its_step(ctx: RunContext) -> Outcome:
    label: Any = "wait"  # in the place of the result's type
    await ctx.step("s", _a_number, label)
    return Outcome("never")


async def takes_a_number_for_text(ctx: RunContext) -> Outcome:
    work: Callable[[], Any] = _a_number
    await ctx.step("s", work, str)
    return Outcome("never")


async def answers_in_plain_text(ctx: RunContext) -> Any:
    return "Done."


def is_a_plain_function(ctx: RunContext) -> Any:
    return Outcome("Done.")


async def answers_with_a_value(ctx: RunContext) -> Outcome:
    answer: Any = {"size": "large"}
    return Outcome(answer)


async def names_two_steps_alike(ctx: RunContext) -> Outcome:
    for _ in range(2):
        await ctx.step("s", _a_number, int)
    return Outcome("never")


async def _an_outcome() -> Outcome:
    return Outcome("Done.")


async def _a_number() -> int:
    return 1


@pytest.mark.parametrize(
    ("agent", "why"),
    [
        (labels_its_step, "step.s: its result is not read as 'wait'"),
        (takes_a_number_for_text, "step.s: its result is not read as <class 'str'>"),
        (answers_in_plain_text, "an agent returns an Outcome, not a str"),
        (is_a_plain_function, "an agent is an `async def agent(ctx)`, and this one is a plain"),
        (answers_with_a_value, "an Outcome's answer is text, not a dict; a value is its output"),
        (names_two_steps_alike, "there are two steps step.s; put what tells them apart into"),
    ],
)
def test_it_fails_at_once_and_the_log_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, agent: Any, why: str
) -> None:
    assert _ended(tmp_path, agent).payload["code"] == "internal"
    assert why in caplog.text
    assert "Exception Group" not in caplog.text  # but what it was, and where


def test_an_await_that_is_missing_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    forgotten = _an_outcome()

    async def forgets_to_await(ctx: RunContext) -> Any:
        return forgotten

    assert _ended(tmp_path, forgets_to_await).payload["code"] == "internal"
    forgotten.close()
    assert "an agent returns an Outcome, not a coroutine; an await is missing" in caplog.text


def test_an_answer_that_no_client_could_take_is_refused(tmp_path: Path) -> None:
    async def writes_a_book(ctx: RunContext) -> Outcome:
        return Outcome("x" * (ANSWER_BYTES_MAX + 1))

    assert _ended(tmp_path, writes_a_book).payload["code"] == "answer_too_large"


def test_a_step_that_failed_may_be_tried_again_under_its_name(tmp_path: Path) -> None:
    tries = iter([False, True])

    async def work() -> str:
        if not next(tries):
            raise OSError("away")
        return "there"

    async def persists(ctx: RunContext) -> Outcome:
        with suppress(OSError):
            await ctx.step("s", work, str)
        return Outcome(await ctx.step("s", work, str))

    assert _ended(tmp_path, persists).payload["answer"] == "there"


def test_what_a_tool_raises_is_in_the_log_with_its_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @tool(effect=Effect.READ)
    async def look(_: ToolContext) -> ToolResult:
        """Look."""
        raise KeyError("customer")

    @tool(effect=Effect.READ)
    async def say(_: ToolContext) -> Any:
        """Say."""
        return "Done."

    async def asks(ctx: RunContext) -> Outcome:
        ends = [await ctx.tool(what, {}, purpose="to see") for what in (look, say)]
        return Outcome(" ".join(end.error.code for end in ends if end.error))

    assert _ended(tmp_path, asks).payload["answer"] == "tool_failed tool_failed"
    assert "the tool look failed" in caplog.text
    assert 'raise KeyError("customer")' in caplog.text
    assert "a tool returns a ToolResult, not a str" in caplog.text


def test_what_a_tool_must_not_raise_ends_the_run_and_the_log_says_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class _ConnectError(Exception):
        """One of a library."""

    @tool(effect=Effect.READ)
    async def fetch(_: ToolContext) -> ToolResult:
        """Fetch."""
        raise _ConnectError

    async def fetches(ctx: RunContext) -> Outcome:
        await ctx.tool(fetch, {}, purpose="to see")
        return Outcome("never")

    assert _ended(tmp_path, fetches).payload["code"] == "internal"
    assert "Catch it in the tool, and raise a Failure" in caplog.text


def test_what_is_no_agent_or_tool_is_refused_at_start() -> None:
    def streams_nothing(*_: Any) -> ModelResponse:
        return ModelResponse(parts=[])

    with pytest.raises(TypeError, match="replies are streamed: make it as FunctionModel"):
        pydantic_agent(Agent(FunctionModel(streams_nothing)))
    no_agent: Any = object()
    with pytest.raises(
        TypeError, match=r"clerk: an agent is .*not a builtins\.object; .*pydantic_agent"
    ):
        AgentRegistry().register("clerk", "Knows.", no_agent)

    def plain(_: ToolContext) -> ToolResult:
        return ToolResult("seen")

    async def untyped(_: ToolContext, size, count: int) -> ToolResult:  # type: ignore[no-untyped-def]
        return ToolResult(f"{size} {count}")

    made: Any = tool()
    with pytest.raises(TypeError, match="the tool plain is a plain function"):
        made(plain)
    with pytest.raises(TypeError, match="the tool untyped does not say the types of: size"):
        made(untyped)


def _ended(tmp_path: Path, agent: Any) -> Event:
    """Return the end of a run of this agent."""

    async def scenario() -> Event:
        async with world(tmp_path, {"it": agent}) as w:
            await w.begin()
            async with w.working():
                return (await w.events_until_end(await w.ask("go")))[-1]

    return asyncio.run(scenario())
