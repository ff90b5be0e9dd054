"""Models of pydantic-ai behind our port: conversations there and back, faults by their kind."""

from enum import StrEnum
from typing import Any

import httpx2
import msgspec
from pydantic_ai import messages as ai
from pydantic_ai.direct import model_request_stream
from pydantic_ai.models import Model as AiModel
from pydantic_ai.models import StreamedResponse
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.models.wrapper import WrapperModel

from tidings.domain.shapes import misfit, without_nulls
from tidings.models import faults
from tidings.models.diagnosis import REPLY_FAULTS, diagnosed
from tidings.models.faults import ModelFault
from tidings.models.patience import beat
from tidings.models.port import NOTHING_USED, ModelReply, ModelRequest, OnText, Usage
from tidings.models.replies import CALLS_PER_REPLY_MAX, clean
from tidings.models.translation import (
    OUTPUT_TOOL,
    Conversation,
    body_of,
    calls_of,
    cleaned,
    conversation_of,
)

TOKENS_COUNTED_MAX = 1_000_000_000


class ReplyEnd(StrEnum):
    """What must be there for a reply to be whole, besides its library's word for it."""

    REASON = "reason"
    """Why the provider stopped."""
    PROVIDERS_WORD = "providers_word"
    """The same as the provider said it: a library that takes a stream that just stops for a whole
    one makes up a reason."""
    NOTHING = "nothing"
    """The model has no provider, as those that tests play."""


class PydanticModel:
    """A model of pydantic-ai; its faults carry no secret. It keeps no time and tries nothing twice.

    But a request for a value whose form its server rejects is put in words, then and ever after.
    Two of the same model are equal.
    """

    def __init__(self, name: str, model: AiModel, *, priced: bool = True) -> None:
        self._name = name
        self._model = model
        self._priced = priced
        self._end = _end_of(model)
        self._in_words = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PydanticModel) and other._model is self._model

    def __hash__(self) -> int:
        return id(self._model)

    @property
    def name(self) -> str:
        return self._name

    async def respond(self, request: ModelRequest, on_text: OnText) -> ModelReply:
        """Return the reply; text is passed on as it arrives.

        Raises:
            ModelFault: its code says what the provider did.
        """
        in_words = self._in_words
        try:
            return await self._sent(request, on_text, in_words=in_words)
        except ModelFault as fault:
            if request.schema is None or in_words or fault.code != faults.REJECTED:
                raise
            rejected = fault
        reply = await self._sent(request, on_text, in_words=True)
        self._in_words = True  # it was the form
        return msgspec.structs.replace(reply, usage=rejected.usage.plus(reply.usage))

    async def _sent(self, request: ModelRequest, on_text: OnText, *, in_words: bool) -> ModelReply:
        stream: StreamedResponse | None = None
        asked = conversation_of(request, in_words=in_words)
        try:
            async with model_request_stream(
                self._model,
                asked.messages,
                model_settings=asked.settings,
                model_request_parameters=asked.parameters,
            ) as stream:
                calls = 0
                async for event in stream:
                    beat()
                    calls += _begins_call(event)
                    if calls > CALLS_PER_REPLY_MAX:
                        raise faults.bad_reply(self._name, "wants too many calls at once")
                    text = _text(event)
                    if text and request.schema is None:
                        await on_text(clean(text))
                return self._reply(request, stream.get())
        except ModelFault as fault:
            fault.usage = self._usage_so_far(stream)
            raise
        except REPLY_FAULTS as error:
            # not `from error`: a log of it would repeat what the provider said
            raise diagnosed(self._name, error, self._usage_so_far(stream)) from None

    def _reply(self, request: ModelRequest, response: ai.ModelResponse) -> ModelReply:
        calls = calls_of(response, request)
        text = clean(response.text or "")
        kept_whole = isinstance(request.task, Conversation)
        other = kept_whole and any(not isinstance(p, ai.ThinkingPart) for p in response.parts)
        self._check_whole(response, has_content=bool(text or calls or other))
        usage = usage_of(response, priced=self._priced)
        if kept_whole:
            body = body_of(cleaned(response, calls))
            return ModelReply(self._name, text, calls, usage, body=body)
        if request.schema is None:
            return ModelReply(self._name, text, calls, usage)
        reply = ModelReply(self._name, text, calls, usage)
        return self._value(request.schema, reply, may_call=bool(request.tools))

    def _value(self, schema: dict[str, Any], reply: ModelReply, *, may_call: bool) -> ModelReply:
        """Return a reply with its value, unless it wants calls first."""
        calls = tuple(call for call in reply.calls if call.name != OUTPUT_TOOL)
        given = [call for call in reply.calls if call.name == OUTPUT_TOOL]
        if calls and not given and may_call:
            return reply
        value = given[0].arguments if given else _parsed(reply.text)
        if value is None or (given and given[0].error):
            raise faults.unfit(self._name, "It is no JSON.", reply.text)
        value = without_nulls(schema, value)
        if wrong := misfit(schema, value):
            wrote = msgspec.json.encode(value).decode() if given else reply.text
            raise faults.unfit(self._name, wrong, wrote)
        return msgspec.structs.replace(reply, calls=calls, value=value)

    def _check_whole(self, response: ai.ModelResponse, *, has_content: bool) -> None:
        if response.finish_reason == "content_filter":
            raise faults.refused(self._name)
        if not self._ended(response) and has_content:
            raise faults.broke_off(self._name)
        if not has_content:
            raise faults.bad_reply(self._name, "sent an empty reply")

    def _ended(self, response: ai.ModelResponse) -> bool:
        if response.state == "suspended":
            return True
        ended = response.state == "complete" and response.finish_reason != "error"
        if self._end is ReplyEnd.PROVIDERS_WORD:
            ended = ended and "finish_reason" in (response.provider_details or {})
        return ended and (self._end is ReplyEnd.NOTHING or response.finish_reason is not None)

    def _usage_so_far(self, stream: StreamedResponse | None) -> Usage:
        """Return what a reply that failed has taken, as far as the provider said."""
        if stream is None:
            return Usage()
        try:
            said = usage_of(stream.get(), priced=self._priced)
        except REPLY_FAULTS:
            said = NOTHING_USED
        known = said.input_tokens > 0
        return Usage(said.input_tokens, said.output_tokens, said.cost_usd if known else None)


class ConnectedModel(PydanticModel):
    """A provider's model with an HTTP client of its own."""

    def __init__(self, name: str, model: AiModel, http: httpx2.AsyncClient, *, priced: bool):
        super().__init__(name, model, priced=priced)
        self._http = http

    async def close(self) -> None:
        """Let go of the connections to the provider."""
        await self._http.aclose()


def models_of(model: AiModel) -> tuple[PydanticModel, ...]:
    """Return the links of a chain for a model of pydantic-ai that somebody else has made.

    Its fallbacks become links of their own: when to fall back is for the chain to say.
    """
    alternatives = model.models if isinstance(model, FallbackModel) else [model]
    return tuple(PydanticModel(_name_of(each), each) for each in alternatives)


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


def _name_of(model: AiModel) -> str:
    return f"{model.system}:{model.model_name}"


def _end_of(model: AiModel) -> ReplyEnd:
    while isinstance(model, WrapperModel):
        model = model.wrapped
    if isinstance(model, OpenAIChatModel):
        return ReplyEnd.PROVIDERS_WORD
    return ReplyEnd.NOTHING if model.provider is None else ReplyEnd.REASON


def _parsed(text: str) -> Any:
    """Return the JSON that a text is, also one in a fence; None if it is none."""
    written = text.strip()
    if written.startswith("```"):
        written = written.partition("\n")[2].rpartition("```")[0]
    try:
        return msgspec.json.decode(written)
    except (msgspec.MsgspecError, RecursionError):
        return None


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
