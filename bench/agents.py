"""One message, one tool call, a streamed answer, and a model that takes no time."""

import asyncio

from bench.peers.script import ANSWER, ARGUMENTS, CALL_ID, INSTRUCTIONS, TOOL, WORDS, echoed
from tidings.domain.facts import ToolResult
from tidings.domain.permissions import Effect
from tidings.domain.runs import Outcome
from tidings.models.port import Message, ModelReply, ModelRequest, OnText, ToolCall, Usage
from tidings.runs.context import RunContext
from tidings.tools.port import ToolContext, tool

STEADY_THOUGHTS, STEADY_SECONDS = 3_000, 0.01


class ZeroModel:
    """Calls the tool once, then answers in twenty pieces; takes no time, unless it is told to."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    @property
    def name(self) -> str:
        return "bench:zero"

    async def respond(self, request: ModelRequest, on_text: OnText) -> ModelReply:
        if self._seconds:
            await asyncio.sleep(self._seconds)
        if request.messages[-1].role == "user":
            call = ToolCall(CALL_ID, TOOL, ARGUMENTS)
            return ModelReply(self.name, "", (call,), Usage(10, 5, 0.0))
        for word in WORDS:
            await on_text(word)
        return ModelReply(self.name, ANSWER, (), Usage(20, 20, 0.0))


@tool(effect=Effect.READ)
async def echo(_: ToolContext, text: str) -> ToolResult:
    """Return what was said."""
    return ToolResult(summary=echoed(text))


async def one_tool(ctx: RunContext) -> Outcome:
    """Ask the model, make the call it wants, and let it answer."""
    await ctx.plan("Answer the question", ["Call the tool", "Answer"])
    await ctx.think("I call the tool.", 0.2)
    opening = Message("user", ctx.request.text)
    wants = await ctx.model(ModelRequest(INSTRUCTIONS, (opening,)))
    (call,) = wants.calls
    outcome = await ctx.tool(call.name, call.arguments, purpose="Look it up")
    assert outcome.result is not None
    shown = Message("tool", outcome.result.summary, call_id=call.id, tool=call.name)
    messages = (opening, Message("assistant", calls=wants.calls), shown)

    async def on_text(text: str) -> None:
        await ctx.delta("answer", text)

    reply = await ctx.model(ModelRequest(INSTRUCTIONS, messages), on_text=on_text)
    return Outcome(reply.text)


async def steady(ctx: RunContext) -> Outcome:
    """Think aloud without end, each thought a recorded step: an attempt goes on where one died."""
    for number in range(STEADY_THOUGHTS):
        await ctx.step(f"pause{number}", _pause, bool)
        await ctx.think(f"thought {number}", number / STEADY_THOUGHTS)
    return Outcome("done")


async def _pause() -> bool:
    await asyncio.sleep(STEADY_SECONDS)
    return True
