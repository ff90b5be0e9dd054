"""Agents of pydantic-ai with the guarantees of ours: every request and call is a recorded step."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict
from pydantic_ai import exceptions as faults
from pydantic_ai import messages as ai
from pydantic_ai.agent import AbstractAgent
from pydantic_ai.capabilities import AbstractCapability, ReinjectSystemPrompt
from pydantic_ai.capabilities.abstract import ValidatedToolArgs, WrapToolExecuteHandler
from pydantic_ai.models import Model as AiModel
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.tools import RunContext as AiContext
from pydantic_ai.tools import ToolDefinition
from pydantic_core import to_json, to_jsonable_python

from tidings.agents.pydantic_models import RecordedModel, RunReplies, ServersModel
from tidings.domain.errors import Failure, InvalidInput
from tidings.domain.facts import ToolResult
from tidings.domain.permissions import Effect
from tidings.domain.runs import Outcome
from tidings.runs.context import RunContext
from tidings.runs.conversation import Turn
from tidings.runs.outcomes import Fault
from tidings.runs.port import Agent
from tidings.tools.port import DEFAULT_DEADLINE_SECONDS, Tool, ToolContext

D = TypeVar("D")

CUT_OFF = "(This answer was cut off.)"
"""Stands behind an earlier answer that is not whole."""

_TOLD_TO_MODEL = (
    faults.ModelRetry,
    faults.ToolFailed,
    faults.ToolRetryError,
    faults.ToolFailedError,
)
"""How a tool of pydantic-ai says that its call did not work, in words for the model."""


def pydantic_agent(
    agent: AbstractAgent[D, Any],
    deps: Callable[[RunContext], D] = lambda _: None,  # type: ignore[assignment,return-value]
    *,
    remembers: bool = True,
) -> Agent:
    """Return an agent for the registry that runs one of pydantic-ai.

    Its requests go to the model that it brings, else to the server's, under the same policy. Its
    text output is the answer; other output is the run's output, and its JSON is the answer. `deps`
    makes its dependencies for each attempt at a run. A tool's metadata say its effect,
    `{"effect": "read"}`; one that says nothing counts as one that writes: it asks for leave once
    there is content from outside, and a call in the middle of which the server died is reported as
    unknown to the model. If it `remembers`, what was said before in the thread is its
    `message_history`; earlier answers are content from outside.

    Raises:
        TypeError: its FunctionModel cannot stream.
    """
    brought = agent.model
    if isinstance(brought, FunctionModel) and brought.stream_function is None:
        raise TypeError("replies are streamed: make it as FunctionModel(stream_function=...)")

    async def run(ctx: RunContext) -> Outcome:
        await ctx.plan(ctx.request.text, [])
        before = messages_of(await ctx.history()) if remembers else []
        try:
            result = await agent.run(
                ctx.request.text,
                deps=deps(ctx),
                model=ServersModel() if agent.model is None else None,
                message_history=before,
                capabilities=[ReinjectSystemPrompt(), Recording(ctx)],
            )
        except faults.AgentRunError as error:
            raise _failure(error) from error
        return _outcome(result.output)

    return run


def messages_of(turns: Sequence[Turn]) -> list[ai.ModelMessage]:
    """Return what was said in a thread in the words of pydantic-ai, without what models were told.

    The agent's instructions are not in it: they are given anew with every request.
    """
    messages: list[ai.ModelMessage] = []
    for turn in turns:
        messages.append(ai.ModelRequest(parts=[ai.UserPromptPart(turn.text)]))
        told = turn.answer if turn.complete else f"{turn.answer}\n\n{CUT_OFF}"
        if turn.answer:
            messages.append(ai.ModelResponse(parts=[ai.TextPart(told)]))
    return messages


class Recording(AbstractCapability[Any]):
    """Puts one run of an agent on record: asks and calls only what was not recorded before."""

    def __init__(self, ctx: RunContext) -> None:
        self._ctx = ctx
        self._replies = RunReplies(ctx)

    def get_wrapper_model(self, model: AiModel) -> AiModel:
        """Have whatever model serves a request asked on record."""
        return RecordedModel(model, self._ctx, self._replies)

    async def wrap_tool_execute(
        self,
        ctx: AiContext[Any],  # noqa: ARG002 - the framework's signature
        *,
        call: ai.ToolCallPart,
        tool_def: ToolDefinition,
        args: ValidatedToolArgs,
        handler: WrapToolExecuteHandler,
    ) -> Any:
        """Call the tool, unless it has answered this before; a failure is told to the model."""
        if refused := self._replies.refused.get(call.tool_call_id):
            raise faults.ModelRetry(refused)

        async def invoke(_context: ToolContext, _values: BaseModel) -> ToolResult:
            try:
                returned = await handler(args)
            except _TOLD_TO_MODEL as error:
                raise InvalidInput("tool_retry", _message(error)) from error
            return ToolResult(f"{call.tool_name} has answered.", content=to_json(returned).decode())

        metadata = tool_def.metadata or {}
        tool = Tool(
            name=call.tool_name,
            description=tool_def.description or "",
            arguments=AnyArguments,
            call=invoke,
            effect=Effect(metadata.get("effect", Effect.WRITE)),
            trusted=bool(metadata.get("trusted", False)),
            deadline_seconds=tool_def.timeout or DEFAULT_DEADLINE_SECONDS,
        )
        outcome = await self._ctx.tool(
            tool,
            dict(args),
            purpose=f"Use {call.tool_name}",
            call_id=self._replies.call_ids.get(call.tool_call_id, ""),
        )
        if outcome.result is None:
            error = outcome.error or Fault("tool_failed", "The tool failed.")
            raise faults.ModelRetry(f"{error.code}: {error.message}")
        return msgspec.json.decode(outcome.result.content)


class AnyArguments(BaseModel):
    """Arguments that pydantic-ai has checked already."""

    model_config = ConfigDict(extra="allow")


def _message(error: Exception) -> str:
    if isinstance(error, faults.ToolRetryError) and isinstance(error.tool_retry.content, str):
        return error.tool_retry.content
    return str(error)


def _failure(error: faults.AgentRunError) -> Failure:
    """Return why an agent did not come to its end; pydantic-ai's words may repeat a model's."""
    if isinstance(error, faults.UnexpectedModelBehavior):
        return Failure(
            "model_output_unfit", "The model did not answer in the form that the agent wants."
        )
    if isinstance(error, faults.UsageLimitExceeded):
        return Failure("agent_limit", "The agent has come to a limit of its own.")
    return Failure("agent_failed", "The agent could not finish its work.")


def _outcome(output: object) -> Outcome:
    if isinstance(output, str):
        return Outcome(output)
    answer = f"```json\n{to_json(output, indent=2).decode()}\n```"
    return Outcome(answer, output=to_jsonable_python(output))
