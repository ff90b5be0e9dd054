"""Agents of pydantic-ai with the guarantees of ours: every request and call is a recorded step."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict
from pydantic_ai import exceptions as faults
from pydantic_ai import messages as ai
from pydantic_ai.agent import AbstractAgent
from pydantic_ai.capabilities import AbstractCapability, WrapModelRequestHandler
from pydantic_ai.capabilities.abstract import ValidatedToolArgs, WrapToolExecuteHandler
from pydantic_ai.models import ModelRequestContext
from pydantic_ai.tools import RunContext as AiContext
from pydantic_ai.tools import ToolDefinition
from pydantic_core import to_json

from tidings.agents.registry import Agent
from tidings.domain.errors import Failure, InvalidInput
from tidings.domain.facts import ToolResult
from tidings.domain.permissions import Effect
from tidings.domain.runs import Outcome
from tidings.models.diagnosis import diagnosed
from tidings.models.port import Usage
from tidings.models.pydantic_ai import usage_of
from tidings.runs.context import RunContext
from tidings.runs.outcomes import Exchange, Fault
from tidings.tools.port import DEFAULT_DEADLINE_SECONDS, Tool, ToolContext

D = TypeVar("D")

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
) -> Agent:
    """Return an agent for the registry that runs one of pydantic-ai.

    Its text output is the answer; other output is shown as JSON. `deps` makes its dependencies for
    each attempt at a run. A tool's metadata say its effect, `{"effect": "read"}`; one that says
    nothing counts as one that writes: it asks for leave once there is content from outside, and a
    call in the middle of which the server died is reported as unknown to the model.
    """

    async def run(ctx: RunContext) -> Outcome:
        await ctx.plan(ctx.request.text, [])
        recording = Recording(ctx)
        try:
            result = await agent.run(ctx.request.text, deps=deps(ctx), capabilities=[recording])
        except faults.ModelAPIError as error:
            raise diagnosed(error.model_name, error, Usage()) from error
        except faults.AgentRunError as error:
            raise recording.failure from error
        return Outcome(_text(result.output))

    return run


class Recording(AbstractCapability[Any]):
    """Puts one run of an agent on record: asks and calls only what was not recorded before."""

    def __init__(self, ctx: RunContext) -> None:
        self.failure = Failure("agent_failed", "The agent could not finish its work.")
        self._ctx = ctx
        self._requests = 0
        self._asking = False

    async def wrap_model_request(
        self,
        ctx: AiContext[Any],  # noqa: ARG002 - the framework's signature
        *,
        request_context: ModelRequestContext,
        handler: WrapModelRequestHandler,
    ) -> ai.ModelResponse:
        """Ask the model, unless it has answered this before."""
        self._requests += 1

        async def ask() -> Exchange:
            self._asking = True
            try:
                response = await handler(request_context)
            finally:
                self._asking = False
            body = ai.ModelMessagesTypeAdapter.dump_json([response])
            return Exchange(msgspec.Raw(body), usage_of(response))

        answer = await self._ctx.exchange(ask)
        if answer.error is not None:
            self.failure = Failure(answer.error.code, answer.error.message)
            raise self.failure
        (response,) = ai.ModelMessagesTypeAdapter.validate_json(bytes(answer.body))
        assert isinstance(response, ai.ModelResponse)  # noqa: S101 - it was written above
        return response

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
        outcome = await self._ctx.tool(tool, dict(args), purpose=f"Use {call.tool_name}")
        if outcome.result is None:
            error = outcome.error or Fault("tool_failed", "The tool failed.")
            raise faults.ModelRetry(f"{error.code}: {error.message}")
        return msgspec.json.decode(outcome.result.content)

    async def on_event(
        self,
        ctx: AiContext[Any],  # noqa: ARG002 - the framework's signature
        *,
        event: ai.AgentStreamEvent,
    ) -> None:
        """Show the text of the answer as it is written; what is replayed was shown before."""
        text = ""
        if isinstance(event, ai.PartStartEvent) and isinstance(event.part, ai.TextPart):
            text = event.part.content
        elif isinstance(event, ai.PartDeltaEvent) and isinstance(event.delta, ai.TextPartDelta):
            text = event.delta.content_delta
        if text and self._asking:
            await self._ctx.delta(f"m{self._requests}", text)


class AnyArguments(BaseModel):
    """Arguments that pydantic-ai has checked already."""

    model_config = ConfigDict(extra="allow")


def _message(error: Exception) -> str:
    if isinstance(error, faults.ToolRetryError) and isinstance(error.tool_retry.content, str):
        return error.tool_retry.content
    return str(error)


def _text(output: object) -> str:
    if isinstance(output, str):
        return output
    return f"```json\n{to_json(output, indent=2).decode()}\n```"
