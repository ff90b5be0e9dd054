"""Models of providers through pydantic-ai: messages there and back, faults by their kind."""

from pydantic_ai import exceptions as faults
from pydantic_ai import messages as ai
from pydantic_ai.direct import model_request_stream
from pydantic_ai.models import Model as AiModel
from pydantic_ai.models import ModelRequestParameters, infer_model
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from tidings.domain.errors import Failure, InvalidInput
from tidings.models.port import Message, ModelReply, ModelRequest, OnText, ToolCall, Usage

REQUEST_SECONDS_MAX = 120.0
FIRST_TEXT_SECONDS_MAX = 60.0


def connect(provider: str, model: str, base_url: str | None) -> AiModel:
    """Return pydantic-ai's model; nothing is sent yet.

    Raises:
        InvalidInput: `model_not_configured`: no such provider or model, its key or package missing.
    """
    try:
        if base_url is not None:
            return OpenAIChatModel(model, provider=OpenAIProvider(base_url=base_url))
        return infer_model(f"{provider}:{model}")
    except (faults.UserError, ValueError, ImportError) as error:
        raise InvalidInput(
            "model_not_configured",
            f"{provider}:{model} cannot be used. Check its name, that its provider's key is set, "
            "and that its package is installed.",
        ) from error


class PydanticModel:
    """A provider's model; its faults become failures that carry no secret."""

    def __init__(self, name: str, model: AiModel, *, retries: int, priced: bool) -> None:
        self._name = name
        self._model = model
        self._priced = priced
        self._settings: ModelSettings = {
            "request_timeout": REQUEST_SECONDS_MAX,
            "first_event_timeout": FIRST_TEXT_SECONDS_MAX,
            "max_retries": retries,
        }

    @property
    def name(self) -> str:
        return self._name

    async def respond(self, request: ModelRequest, on_text: OnText) -> ModelReply:
        """Return the reply; text is passed on as it arrives.

        Raises:
            Failure: `model_auth`, `model_rate_limited`, `model_refused`, `model_garbage` or
                `model_unavailable`.
        """
        try:
            return self._reply(await self._stream(request, on_text))
        except faults.AgentRunError as error:
            raise failure_of(self._name, error) from error

    async def _stream(self, request: ModelRequest, on_text: OnText) -> ai.ModelResponse:

        settings: ModelSettings = {**self._settings, "max_tokens": request.max_output_tokens}
        async with model_request_stream(
            self._model,
            _history(request),
            model_settings=settings,
            model_request_parameters=_parameters(request),
        ) as stream:
            async for event in stream:
                text = ""
                if isinstance(event, ai.PartStartEvent) and isinstance(event.part, ai.TextPart):
                    text = event.part.content
                elif isinstance(event, ai.PartDeltaEvent) and isinstance(
                    event.delta, ai.TextPartDelta
                ):
                    text = event.delta.content_delta
                if text:
                    await on_text(text)
            return stream.get()

    def _reply(self, response: ai.ModelResponse) -> ModelReply:
        calls = tuple(
            ToolCall(call.tool_call_id, call.tool_name, call.args_as_dict())
            for call in response.tool_calls
        )
        text = response.text or ""
        _check_whole(self._name, response, bool(text or calls))
        usage = usage_of(response, priced=self._priced)
        return ModelReply(self._name, text=text, calls=calls, usage=usage)


def usage_of(response: ai.ModelResponse, *, priced: bool = True) -> Usage:
    """Return what a response took, and what it cost, where that is known."""
    cost: float | None = None
    if priced:
        try:
            cost = float(response.cost().total_price)
        except (LookupError, ValueError):
            cost = None
    return Usage(response.usage.input_tokens, response.usage.output_tokens, cost)


def _history(request: ModelRequest) -> list[ai.ModelMessage]:
    """Return the conversation; results of one turn's calls go into one message."""
    history: list[ai.ModelMessage] = []
    for message in request.messages:
        if message.role == "assistant":
            history.append(_assistant(message))
            continue
        part: ai.ModelRequestPart = ai.UserPromptPart(message.text)
        if message.role == "tool":
            part = ai.ToolReturnPart(message.tool, message.text, message.call_id)
        last = history[-1] if history else None
        if isinstance(last, ai.ModelRequest):
            last.parts = [*last.parts, part]
        else:
            history.append(ai.ModelRequest(parts=[part], instructions=request.instructions))
    return history


def _assistant(message: Message) -> ai.ModelResponse:

    parts: list[ai.ModelResponsePart] = [ai.TextPart(message.text)] if message.text else []
    parts += [ai.ToolCallPart(call.name, call.arguments, call.id) for call in message.calls]
    return ai.ModelResponse(parts=parts)


def _parameters(request: ModelRequest) -> ModelRequestParameters:

    tools = [
        ToolDefinition(
            name=tool.name, description=tool.description, parameters_json_schema=tool.parameters
        )
        for tool in request.tools
    ]
    return ModelRequestParameters(function_tools=tools)


def _check_whole(name: str, response: ai.ModelResponse, has_content: bool) -> None:  # noqa: FBT001
    if response.finish_reason == "content_filter":
        raise Failure("model_refused", f"{name} refused to answer this.")
    if not has_content:
        raise Failure("model_garbage", f"{name} sent an empty reply.")
    if response.state != "complete" or response.finish_reason in {None, "error"}:
        raise Failure("model_unavailable", f"{name} broke off in the middle of its reply.")


def failure_of(name: str, error: faults.AgentRunError) -> Failure:
    """Name the fault without a word of the provider's own, which may repeat a key or a prompt."""
    match error:
        case faults.ModelAuthenticationError():
            return Failure("model_auth", f"{name} did not accept the key; check it.")
        case faults.ModelQuotaExceededError():
            return Failure("model_rate_limited", f"The quota or credit for {name} is used up.")
        case faults.ModelRateLimitError():
            return Failure("model_rate_limited", f"{name} gets too many requests; wait a little.")
        case faults.ContentFilterError():
            return Failure("model_refused", f"{name} refused to answer this.")
        case faults.ModelRequestRejectedError():
            return Failure("model_refused", f"{name} rejected the request; check the model's name.")
        case faults.ModelAPIError() if not isinstance(error.__cause__, ValueError):
            return Failure("model_unavailable", f"{name} does not answer now.")
        case _:
            return Failure("model_garbage", f"{name} sent something that is not a reply.")
