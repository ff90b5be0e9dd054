"""A server with one job done by agents of every kind: plain, of pydantic-ai, a workflow of both.

The question says which calls to make in one reply, and where payments are counted:
`look,pay /folder/payments`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel

from tests.fakes.models import says
from tests.harness.programs.cut_off import Speaker
from tidings.agents.pydantic_agents import pydantic_agent
from tidings.app import App
from tidings.cli.serve import serve
from tidings.domain.facts import ToolResult
from tidings.domain.permissions import Effect
from tidings.domain.runs import Outcome
from tidings.runs.context import RunContext
from tidings.runs.rulings import ToolRequest
from tidings.tools.port import Tool, ToolContext, tool

EFFECTS = {"look": Effect.READ, "slow": Effect.READ, "hang": Effect.READ, "pay": Effect.WRITE}
SLOW_SECONDS = 0.4
ANSWER = "It is done."


async def act(what: str, payments: str) -> str:
    """Do it: a payment is a line in a file."""
    match what:
        case "slow":
            await asyncio.sleep(SLOW_SECONDS)
        case "hang":
            await asyncio.Event().wait()
        case "pay":
            count(Path(payments))
        case _:
            pass
    return f"{what} is done"


def count(payments: Path) -> None:
    with payments.open("a") as file:
        file.write("paid\n")


def ours(name: str) -> Tool:
    @tool(name=name, effect=EFFECTS[name], trusted=True)
    async def call(_: ToolContext, payments: str) -> ToolResult:
        """Do what the name says."""
        return ToolResult(await act(name, payments))

    return call


async def plain(ctx: RunContext) -> Outcome:
    await ctx.plan("Do as told.", ["call", "say"])
    await ctx.think("I make the calls.", 0.2)
    await make_calls(ctx)
    speaker = Speaker(ANSWER)
    reply = await ctx.model(says("go"), on_text=lambda t: ctx.delta("a", t), models=(speaker,))
    return Outcome(reply.text)


async def make_calls(ctx: RunContext) -> None:
    names, payments = ctx.request.text.split()
    wanted = [ToolRequest(n, {"payments": payments}, f"To {n}") for n in names.split(",")]
    await ctx.tools(wanted)


async def model(
    messages: list[ModelMessage], info: AgentInfo
) -> AsyncIterator[str | DeltaToolCalls]:
    """Make the calls of the question in one reply, then say the answer."""
    names, payments = str(messages[0].parts[-1].content).split()  # type: ignore[union-attr]
    if len(messages) == 1 and info.function_tools:
        arguments = f'{{"payments": "{payments}"}}'
        for number, name in enumerate(names.split(",")):
            yield {number: DeltaToolCall(name, arguments, tool_call_id=f"m{number}")}
    else:
        yield ANSWER


def of_pydantic(*names: str) -> Agent[None, str]:
    agent: Agent[None, str] = Agent(FunctionModel(stream_function=model))
    for name in names:
        told = {"effect": str(EFFECTS[name]), "trusted": True}
        agent.tool_plain(name=name, description=f"Do it: {name}.", metadata=told)(theirs(name))
    return agent


def theirs(name: str) -> Callable[[str], Awaitable[str]]:
    async def call(payments: str) -> str:
        return await act(name, payments)

    return call


writer = pydantic_agent(of_pydantic())


async def workflow(ctx: RunContext) -> Outcome:
    await ctx.plan("Do as told, by two others.", ["call", "say"])
    async with ctx.sub("caller", "Make the calls.") as caller:
        await caller.think("I make the calls.", 0.2)
        await make_calls(caller)
    async with ctx.sub("writer", "Write the answer.") as sub:
        return await writer(sub)


def register(app: App) -> None:
    for name in EFFECTS:
        app.tools.add(ours(name))
    app.agents.register("plain", "A plain function.", plain)
    app.agents.register("pydantic", "Of pydantic-ai.", pydantic_agent(of_pydantic(*EFFECTS)))
    app.agents.register("workflow", "A workflow of these.", workflow)


if __name__ == "__main__":
    serve(register)
