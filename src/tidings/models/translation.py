"""Requests as pydantic-ai puts them and as the port does, and replies; both ways."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from pydantic_ai import messages as ai
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition
from pydantic_core import to_json

from tidings.domain.shapes import ARGUMENTS_BYTES_MAX
from tidings.models.forms import told_form
from tidings.models.port import Message, ModelReply, ModelRequest, ToolCall, ToolSpec
from tidings.models.replies import WrittenCall, checked_calls, clean

OUTPUT_TOOL = "answer"
"""The tool by which a model gives its value, where it has no better way."""

_OUR_OWN = frozenset({"max_retries", "timeout", "request_timeout"})
"""Settings that are policy: retries and time limits are not a library's business."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A request in the words of pydantic-ai, whole: the task of a `ModelRequest` that tells it.

    The request's own messages say the same in brief, for models of other kinds.
    """

    messages: list[ai.ModelMessage]
    settings: ModelSettings | None
    parameters: ModelRequestParameters


def conversation_of(request: ModelRequest, *, in_words: bool = False) -> Conversation:
    """Return a request in the words of pydantic-ai, to be sent once.

    `in_words`: a schema is told in the instructions, for a server that takes no forms.
    """
    if isinstance(request.task, Conversation):
        told = request.task
        kept = {key: value for key, value in (told.settings or {}).items() if key not in _OUR_OWN}
        settings: Any = kept | {"max_retries": 0}
        return Conversation(told.messages, settings, told.parameters)
    if in_words and request.schema is not None:
        told_so = f"{request.instructions}\n\n{told_form(request.schema)}"
        request = msgspec.structs.replace(request, instructions=told_so, schema=None)
    return Conversation(
        _history(request),
        {"max_retries": 0, "max_tokens": request.max_output_tokens},
        _parameters(request),
    )


def request_of(conversation: Conversation) -> ModelRequest:
    """Return the request of a conversation, for any model."""
    parameters = conversation.parameters
    tools = [*parameters.function_tools, *parameters.output_tools]
    parts = parameters.instruction_parts or []
    settings = conversation.settings or {}
    request = ModelRequest(
        "\n\n".join(part.content for part in parts),
        tuple(_briefs(conversation.messages)),
        tuple(ToolSpec(t.name, t.description or "", t.parameters_json_schema) for t in tools),
        task=conversation,
    )
    most = settings.get("max_tokens")
    if not isinstance(most, int):
        return request
    return msgspec.structs.replace(request, max_output_tokens=most)


def calls_of(response: ai.ModelResponse, request: ModelRequest) -> tuple[ToolCall, ...]:
    """Return the calls of a response, made safe to keep."""
    written = [
        WrittenCall(call.tool_call_id, call.tool_name, call.args) for call in response.tool_calls
    ]
    return checked_calls(written, (call.id for m in request.messages for call in m.calls))


def cleaned(response: ai.ModelResponse, calls: Iterable[ToolCall]) -> ai.ModelResponse:
    """Return a response that can be kept and sent back: its calls as they were checked."""
    checked = iter(calls)
    return replace(response, parts=[_cleaned(part, checked) for part in response.parts])


def response_of(reply: ModelReply) -> ai.ModelResponse:
    """Return a reply in the words of pydantic-ai: as it was kept, or from what it says."""
    if bytes(reply.body) != b"null":
        (kept,) = ai.ModelMessagesTypeAdapter.validate_json(bytes(reply.body))
        assert isinstance(kept, ai.ModelResponse)  # noqa: S101 - `body_of` wrote it
        return kept
    return replace(
        _assistant(Message("assistant", reply.text, reply.calls)), model_name=reply.model
    )


def body_of(response: ai.ModelResponse) -> msgspec.Raw:
    """Return a response as JSON, to be kept and read again.

    Raises:
        ValueError: it cannot be: a provider may have sent anything in any place.
    """
    body = ai.ModelMessagesTypeAdapter.dump_json([response], warnings=False)
    ai.ModelMessagesTypeAdapter.validate_json(body)
    return msgspec.Raw(body)


def _cleaned(part: ai.ModelResponsePart, checked: Iterator[ToolCall]) -> ai.ModelResponsePart:
    if isinstance(part, ai.TextPart | ai.ThinkingPart):
        return replace(part, content=clean(part.content))
    if not isinstance(part, ai.ToolCallPart):
        return part
    call = next(checked)
    told: Any = call.arguments
    if call.error:
        # what is no JSON stays none: the library tells the model so
        told = part.args if isinstance(part.args, str) else to_json(part.args).decode()
        told = clean(told)[:ARGUMENTS_BYTES_MAX]
    return ai.ToolCallPart(
        call.name,
        told,
        call.id,
        tool_kind=part.tool_kind,
        id=part.id,
        provider_name=part.provider_name,
        provider_details=part.provider_details,
    )


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
    if request.schema is None:
        return ModelRequestParameters(function_tools=tools)
    told = "Give the answer in this form."
    output = ToolDefinition(
        name=OUTPUT_TOOL,
        description=told,
        parameters_json_schema=request.schema,
        kind="output",
    )
    return ModelRequestParameters(
        function_tools=tools,
        output_mode="auto",  # as the model's provider does it best
        output_tools=[output],
        output_object=OutputObjectDefinition(request.schema, OUTPUT_TOOL, told),
        allow_text_output=False,
    )


def _briefs(messages: Sequence[ai.ModelMessage]) -> Iterator[Message]:
    for message in messages:
        if isinstance(message, ai.ModelResponse):
            calls = (
                ToolCall(
                    call.tool_call_id, call.tool_name, call.args_as_dict(raise_if_invalid=False)
                )
                for call in message.tool_calls
            )
            yield Message("assistant", message.text or "", tuple(calls))
            continue
        for part in message.parts:
            if isinstance(part, ai.ToolReturnPart):
                told = part.model_response_str()
                yield Message("tool", told, call_id=part.tool_call_id, tool=part.tool_name)
            else:
                yield Message("user", _told(getattr(part, "content", "")))


def _told(content: Any) -> str:
    """Return the text of a part; what is no text is left out."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        return ""
    return "\n".join(item for item in content if isinstance(item, str))
