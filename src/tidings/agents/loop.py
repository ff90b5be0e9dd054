"""The model-tool loop: ask the model, make the calls it wants, show it the results, until none."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from tidings.agents.notebook import Notebook, shown
from tidings.agents.voice import Voice
from tidings.models.port import Message, ModelRequest, ToolCall, ToolSpec
from tidings.models.tasks import Called
from tidings.runs.context import RunContext
from tidings.runs.rulings import PURPOSE_CHARACTERS_MAX, ToolRequest
from tidings.tools.port import Tool

MODEL_REQUESTS_MAX = 16
TOOL_CALLS_MAX = 60
SERVER_SEPARATOR = "__"
LOOP_PROGRESS = (0.2, 0.7)

_PURPOSE = {"type": "string", "description": "What this call is for, in a few words for the user."}
_PURPOSE_NAMES = ("purpose", "purpose_of_call", "purpose_of_this_call", "why_this_call")


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


class Meant(NamedTuple):
    """A call of a model, and what it asks for here."""

    call: ToolCall
    request: ToolRequest


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
        meant = _meant(reply.calls, assignment.tools)
        await ctx.think(_plan(meant), _progress(turn))
        if len(notebook.calls) + len(reply.calls) > TOOL_CALLS_MAX:
            break
        called = await _called(ctx, notebook, meant)
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
    return tuple(
        ToolSpec(t.name, t.description, _with_purpose(t.schema()), t.foreign) for t in tools
    )


def _with_purpose(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that asks for the purpose too, as the last that is required.

    A tool may have an argument of that name; then ours has another.
    """
    own = schema.get("properties", {})
    name = next((name for name in _PURPOSE_NAMES if name not in own), _PURPOSE_NAMES[-1])
    return schema | {
        "properties": own | {name: _PURPOSE},
        "required": [*schema.get("required", []), name],
    }


def _request(assignment: Assignment, messages: list[Message], notebook: Notebook) -> ModelRequest:
    return ModelRequest(
        assignment.instructions,
        tuple(messages),
        tuple(msgspec.structs.replace(tool, name=_offered(tool.name)) for tool in assignment.tools),
        task=assignment.task(notebook.calls),
    )


async def _called(ctx: RunContext, notebook: Notebook, meant: list[Meant]) -> list[Called]:
    """Return how the calls of a reply ended, in its order; what is no call is its own answer."""
    made = iter(await notebook.call(ctx, [m.request for m in meant if not m.call.error]))
    return [
        Called(m.call.id, str(m.request.what), {}, error=m.call.error)
        if m.call.error
        else next(made)
        for m in meant
    ]


def _offered(name: str) -> str:
    """Return a tool's name as providers allow it: those of tool servers have a dot."""
    return name.replace(".", SERVER_SEPARATOR)


def _meant(calls: tuple[ToolCall, ...], tools: tuple[ToolSpec, ...]) -> list[Meant]:
    """Return what the calls ask for, with the names that the tools have here."""
    known = {_offered(tool.name): tool for tool in tools}
    meant = []
    for call in calls:
        tool, arguments = known.get(call.name), dict(call.arguments)
        name = tool.name if tool else call.name
        purpose = arguments.pop(_asked_as(tool), None)
        if not isinstance(purpose, str) or not purpose.strip():
            purpose = f"Use {name}"
        request = ToolRequest(name, arguments, purpose[:PURPOSE_CHARACTERS_MAX])
        meant.append(Meant(call, request))
    return meant


def _asked_as(tool: ToolSpec | None) -> str:
    """Return the name under which a tool is told to ask for the purpose."""
    return str(tool.parameters["required"][-1]) if tool else _PURPOSE_NAMES[0]


def _plan(meant: list[Meant]) -> str:
    """Say what comes next by the purposes of the calls; other words of a model are not shown."""
    purposes = list(dict.fromkeys(m.request.purpose.rstrip(".") for m in meant))
    text = "; ".join([purposes[0], *(p[:1].lower() + p[1:] for p in purposes[1:])])
    return f"{text}."


def _progress(turn: int) -> float:
    """Return a share that grows with each turn and stays below the end of the analysis."""
    begin, end = LOOP_PROGRESS
    return end - (end - begin) / (turn + 1)
