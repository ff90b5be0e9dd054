"""A tool that keeps failing is left alone for a moment, for the user whom it fails."""

import asyncio
from pathlib import Path

from pydantic import BaseModel

from tests.world import ANA, BOB, World, payloads, world
from tidings.domain.context import UserContext
from tidings.domain.errors import InvalidInput
from tidings.domain.facts import ToolResult
from tidings.domain.permissions import Effect
from tidings.domain.runs import Outcome
from tidings.resilience.breaker import BREAKER_RULES
from tidings.runs.context import RunContext
from tidings.tools.port import Tool, ToolContext


class Numbered(BaseModel):
    """An argument that tells one call from another."""

    number: int


def tool(name: str, error: Exception, users: set[str]) -> Tool:
    """Return a tool that fails these users."""

    async def call(context: ToolContext, _arguments: BaseModel) -> ToolResult:
        if context.user.user_id in users:
            raise error
        return ToolResult("It works.")

    return Tool(name, "A test's.", Numbered, call, effect=Effect.READ)


async def tries(ctx: RunContext) -> Outcome:
    for number in range(BREAKER_RULES.calls_min + 2):
        await ctx.tool(ctx.request.text, {"number": number}, purpose="Try")
    return Outcome("Tried.")


async def codes(built: World, name: str, user: UserContext = ANA) -> list[str]:
    """Return how the calls of a run ended."""
    events = await built.events_until_end(await built.ask(name, user), user)
    ended = payloads(events, "tool_completed")
    return ["ok" if call["ok"] else call["error"]["code"] for call in ended]


def test_a_failing_tool_rests_for_the_user_whom_it_fails(tmp_path: Path) -> None:
    most = BREAKER_RULES.calls_min
    tools = (
        tool("broken", KeyError("x"), {ANA.user_id}),
        tool("picky", InvalidInput("no_match", "There is none."), {ANA.user_id}),
    )

    async def scenario() -> None:
        async with world(tmp_path, {"it": tries}, tools) as built:
            await built.begin()
            async with built.working():
                assert await codes(built, "broken") == ["tool_failed"] * most + ["tool_resting"] * 2
                assert await codes(built, "broken", BOB) == ["ok"] * (most + 2)
                assert await codes(built, "picky") == ["no_match"] * (most + 2)

    asyncio.run(scenario())
