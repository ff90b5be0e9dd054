"""The model-tool loop: ask the model, make the calls it wants, show it the results, until none."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from tidings.agents.notebook import Notebook, shown
from tidings.agents.voice import Voice
from tidings.models.port import Message, ModelReply, ModelRequest, ToolCall, ToolSpec
from tidings.models.tasks import Called
from tidings.runs.context import RunContext
from tidings.runs.rulings import ToolRequest
from tidings.tools.port import Tool

MODEL_REQUESTS_MAX = 16
TOOL_CALLS_MAX = 60
SERVER_SEPARATOR = "__"
PURPOSE_CHARACTERS_MAX = 200
LOOP_PROGRESS = (0.2, 0.7)

_PURPOSE = {"type": "string", "description": "What this call is for, in a few words for the user."}


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a model shall work on with tools; `task` gives the typed task from the calls so far.

    Work goes on while more than `reserve_seconds` of the run remain.
    """

    instructions: str
    opening: str
    tools: tuple[ToolSpec, ...]
    task: Callable[[tuple[Called, ...]], Any]
    reserve_seconds: float


async def work(ctx: RunContext, voice: Voice, notebook: Notebook, assignment: Assignment) -> None:
    """Let the model call tools until it wants no more, or a limit is reached (told by a notice)."""
    messages = [Message("user", assignment.opening)]
    for turn in range(MODEL_REQUESTS_MAX):
        if ctx.remaining_seconds() <= assignment.reserve_seconds:
            await ctx.notice("analysis_cut_short", "The time for analysis is up; I report now.")
            return
        reply = await voice.ask(ctx, _request(assignment, messages, notebook))
        messages.append(Message("assistant", reply.text, reply.calls))
        if not reply.calls:
            return
        await ctx.think(_plan(reply), _progress(turn))
        if len(notebook.calls) + len(reply.calls) > TOOL_CALLS_MAX:
            break
        called = await _called(ctx, notebook, _meant(reply.calls, assignment.tools))
        for call, ended in zip(reply.calls, called, strict=True):
            messages.append(Message("tool", shown(ended), call_id=call.id, tool=call.name))
        if any(ended.error.startswith("call_repeats") for ended in called):
            await ctx.notice("analysis_repeats", "A call is made over and over; I report now.")
            return
    await ctx.notice(
        "analysis_cut_short", "The analysis took too many turns or calls; I report now."
    )


def specs(tools: Iterable[Tool]) -> tuple[ToolSpec, ...]:
    """Return the tools as models are told of them, each asking for the purpose of its call."""
    return tuple(ToolSpec(t.name, t.description, _with_purpose(t.schema())) for t in tools)


def _with_purpose(schema: dict[str, Any]) -> dict[str, Any]:
    return schema | {
        "properties": schema.get("properties", {}) | {"purpose": _PURPOSE},
        "required": [*schema.get("required", []), "purpose"],
    }


def _request(assignment: Assignment, messages: list[Message], notebook: Notebook) -> ModelRequest:
    return ModelRequest(
        assignment.instructions,
        tuple(messages),
        tuple(msgspec.structs.replace(tool, name=_offered(tool.name)) for tool in assignment.tools),
        task=assignment.task(notebook.calls),
    )


async def _called(ctx: RunContext, notebook: Notebook, calls: list[ToolCall]) -> list[Called]:
    """Return how the calls of a reply ended, in its order; what is no call is its own answer."""
    requests = [ToolRequest(call.name, *_split(call)) for call in calls if not call.error]
    made = iter(await notebook.call(ctx, requests))
    return [
        Called(call.id, call.name, {}, error=call.error) if call.error else next(made)
        for call in calls
    ]


def _offered(name: str) -> str:
    """Return a tool's name as providers allow it: those of tool servers have a dot."""
    return name.replace(".", SERVER_SEPARATOR)


def _meant(calls: tuple[ToolCall, ...], tools: tuple[ToolSpec, ...]) -> list[ToolCall]:
    """Return the calls with the names that the tools have here."""
    names = {_offered(tool.name): tool.name for tool in tools}
    return [msgspec.structs.replace(c, name=names.get(c.name, c.name)) for c in calls]


def _split(call: ToolCall) -> tuple[dict[str, Any], str]:
    arguments = dict(call.arguments)
    purpose = arguments.pop("purpose", None)
    if not isinstance(purpose, str) or not purpose.strip():
        purpose = f"Use {call.name}"
    return arguments, purpose[:PURPOSE_CHARACTERS_MAX]


def _plan(reply: ModelReply) -> str:
    """Say what comes next by the purposes of the calls; other words of a model are not shown."""
    purposes = list(dict.fromkeys(_split(call)[1].rstrip(".") for call in reply.calls))
    text = "; ".join([purposes[0], *(p[:1].lower() + p[1:] for p in purposes[1:])])
    return f"{text}."


def _progress(turn: int) -> float:
    """Return a share that grows with each turn and stays below the end of the analysis."""
    begin, end = LOOP_PROGRESS
    return end - (end - begin) / (turn + 1)
