"""What an agent of pydantic-ai asks in a run: recorded steps, under the policy of all models."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from pydantic_ai import messages as ai
from pydantic_ai.models import (
    CompletedStreamedResponse,
    ModelRequestParameters,
    StreamedResponse,
)
from pydantic_ai.models import Model as AiModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import RunContext as AiContext

from tidings.models.port import Model, ModelReply
from tidings.models.pydantic_ai import models_of
from tidings.models.translation import Conversation, request_of, response_of
from tidings.runs.context import RunContext


class ServersModel(AiModel):
    """Stands for the server's models in an agent that brings none of its own."""

    @property
    def model_name(self) -> str:
        return "models"

    @property
    def system(self) -> str:
        return "tidings"

    async def request(
        self,
        messages: list[ai.ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ai.ModelResponse:
        raise NotImplementedError("the run asks the server's models in its place")


class RunReplies:
    """What is known of the replies in one run of an agent.

    `call_ids` are the ids that the calls of the last one have in the run, by the model's ids;
    `refused` are those that cannot be made, and why.
    """

    def __init__(self, ctx: RunContext) -> None:
        self.count = 0
        self.call_ids: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self._ctx = ctx

    def take(self, reply: ModelReply, outputs: set[str]) -> None:
        """Give calls their ids by their places, before the agent makes them side by side."""
        self.refused = {call.id: call.error for call in reply.calls if call.error}
        calls = [call.id for call in reply.calls if call.name not in outputs and not call.error]
        self.call_ids = dict(zip(calls, self._ctx.call_ids(len(calls)), strict=True))


class RecordedModel(WrapperModel):
    """Asks a model within a run: what was asked before is answered from the record.

    Text of the answer is shown as it is written.
    """

    def __init__(self, wrapped: AiModel, ctx: RunContext, replies: RunReplies) -> None:
        super().__init__(wrapped)
        self._ctx = ctx
        self._replies = replies
        brought = not isinstance(wrapped, ServersModel)
        self._models: tuple[Model, ...] = models_of(wrapped) if brought else ()

    async def request(
        self,
        messages: list[ai.ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ai.ModelResponse:
        """Return the response.

        Raises:
            Failure: the model failed; `code` starts with `model_`.
        """
        self._replies.count += 1
        message_id = f"m{self._replies.count}"

        async def show(text: str) -> None:
            await self._ctx.delta(message_id, text)

        asked = Conversation(messages, model_settings, model_request_parameters)
        reply = await self._ctx.model(
            request_of(asked),
            on_text=show if _is_answered_in_text(model_request_parameters) else None,
            models=self._models,
        )
        self._replies.take(reply, {tool.name for tool in model_request_parameters.output_tools})
        return response_of(reply)

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ai.ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: AiContext[Any] | None = None,  # noqa: ARG002 - the framework's signature
    ) -> AsyncGenerator[StreamedResponse]:
        """Give an agent that listens to its own stream the whole response at once."""
        response = await self.request(messages, model_settings, model_request_parameters)
        yield CompletedStreamedResponse(
            response, model_request_parameters=model_request_parameters, replay_events=True
        )

    def prepare_messages(
        self,
        messages: list[ai.ModelMessage],
        model_request_parameters: ModelRequestParameters | None = None,  # noqa: ARG002 - as above
    ) -> list[ai.ModelMessage]:
        """Leave the messages to the model that is asked in the end: they are prepared once."""
        return messages


def _is_answered_in_text(parameters: ModelRequestParameters) -> bool:
    return parameters.allow_text_output and parameters.output_mode in {"text", "tool"}
