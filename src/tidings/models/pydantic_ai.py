"""Models of providers through pydantic-ai: messages there and back, faults by their kind."""

import httpx2
from pydantic_ai import messages as ai
from pydantic_ai.direct import model_request_stream
from pydantic_ai.models import Model as AiModel
from pydantic_ai.models import ModelRequestParameters, StreamedResponse
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from tidings.models import faults
from tidings.models.diagnosis import REPLY_FAULTS, diagnosed
from tidings.models.faults import ModelFault
from tidings.models.patience import beat
from tidings.models.port import NOTHING_USED, Message, ModelReply, ModelRequest, OnText, Usage
from tidings.models.replies import CALLS_PER_REPLY_MAX, WrittenCall, checked_calls, clean

TOKENS_COUNTED_MAX = 1_000_000_000


class PydanticModel:
    """A provider's model; its faults carry no secret. It keeps no time and tries nothing twice.

    `says_end` is for protocols whose library takes a stream that just stops for a whole one: there
    the provider's own word on why it stopped is wanted.
    """

    def __init__(
        self,
        name: str,
        model: AiModel,
        http: httpx2.AsyncClient,
        *,
        priced: bool,
        says_end: bool,
    ) -> None:
        self._name = name
        self._http = http
        self._model = model
        self._priced = priced
        self._says_end = says_end

    @property
    def name(self) -> str:
        return self._name

    async def respond(self, request: ModelRequest, on_text: OnText) -> ModelReply:
        """Return the reply; text is passed on as it arrives.

        Raises:
            ModelFault: its code says what the provider did.
        """
        stream: StreamedResponse | None = None
        try:
            async with model_request_stream(
                self._model,
                _history(request),
                model_settings=_settings(request),
                model_request_parameters=_parameters(request),
            ) as stream:
                calls = 0
                async for event in stream:
                    beat()
                    calls += _begins_call(event)
                    if calls > CALLS_PER_REPLY_MAX:
                        raise faults.bad_reply(self._name, "wants too many calls at once")
                    if text := _text(event):
                        await on_text(clean(text))
                return self._reply(request, stream.get())
        except ModelFault as fault:
            fault.usage = self._usage_so_far(stream)
            raise
        except REPLY_FAULTS as error:
            # not `from error`: a log of it would repeat what the provider said
            raise diagnosed(self._name, error, self._usage_so_far(stream)) from None

    async def close(self) -> None:
        """Let go of the connections to the provider."""
        await self._http.aclose()

    def _reply(self, request: ModelRequest, response: ai.ModelResponse) -> ModelReply:
        written = [
            WrittenCall(call.tool_call_id, call.tool_name, call.args)
            for call in response.tool_calls
        ]
        text = clean(response.text or "")
        self._check_whole(response, has_content=bool(text or written))
        taken = (call.id for message in request.messages for call in message.calls)
        calls = checked_calls(written, taken)
        return ModelReply(self._name, text=text, calls=calls, usage=self._usage(response))

    def _check_whole(self, response: ai.ModelResponse, *, has_content: bool) -> None:
        if response.finish_reason == "content_filter":
            raise faults.refused(self._name)
        ended = response.state == "complete" and response.finish_reason not in {None, "error"}
        if self._says_end:
            ended = ended and "finish_reason" in (response.provider_details or {})
        if not ended and has_content:
            raise faults.broke_off(self._name)
        if not has_content:
            raise faults.bad_reply(self._name, "sent an empty reply")

    def _usage(self, response: ai.ModelResponse) -> Usage:
        return usage_of(response, priced=self._priced)

    def _usage_so_far(self, stream: StreamedResponse | None) -> Usage:
        """Return what a reply that failed has taken, as far as the provider said."""
        if stream is None:
            return Usage()
        try:
            said = self._usage(stream.get())
        except REPLY_FAULTS:
            said = NOTHING_USED
        known = said.input_tokens > 0
        return Usage(said.input_tokens, said.output_tokens, said.cost_usd if known else None)


def usage_of(response: ai.ModelResponse, *, priced: bool = True) -> Usage:
    """Return what a response took, and what it cost, where that is known."""
    cost: float | None = None
    if priced:
        try:
            cost = float(response.cost().total_price)
        except (LookupError, ValueError):
            cost = None
    return Usage(
        _counted(response.usage.input_tokens), _counted(response.usage.output_tokens), cost
    )


def _settings(request: ModelRequest) -> ModelSettings:
    """Retries and time limits are not the provider's library's business."""
    return {"max_retries": 0, "max_tokens": request.max_output_tokens}


def _text(event: ai.ModelResponseStreamEvent) -> str:
    """Return the piece of text that an event brings, if it does."""
    if isinstance(event, ai.PartStartEvent) and isinstance(event.part, ai.TextPart):
        return event.part.content
    if isinstance(event, ai.PartDeltaEvent) and isinstance(event.delta, ai.TextPartDelta):
        return event.delta.content_delta
    return ""


def _begins_call(event: ai.ModelResponseStreamEvent) -> bool:
    return isinstance(event, ai.PartStartEvent) and isinstance(event.part, ai.ToolCallPart)


def _counted(tokens: object) -> int:
    """Return a number of tokens that is one."""
    return max(0, min(tokens, TOKENS_COUNTED_MAX)) if isinstance(tokens, int) else 0


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
