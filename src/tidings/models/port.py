"""A language model, whoever hosts it, behind one method."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec


class ToolSpec(msgspec.Struct, frozen=True):
    """A tool as a model is told of it; `parameters` is JSON Schema."""

    name: str
    description: str
    parameters: dict[str, Any]


class ToolCall(msgspec.Struct, frozen=True):
    """A call the model asks for; `arguments` are unchecked, whatever the model wrote."""

    id: str
    name: str
    arguments: dict[str, Any]


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One turn: `role` is user, assistant (text and calls) or tool (`call_id` and its result)."""

    role: str
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    call_id: str = ""
    tool: str = ""


class ModelRequest(msgspec.Struct, frozen=True):
    """A conversation to continue.

    `task` is the typed content from which `instructions` and `messages` were written: a language
    model reads the text, the built-in planner reads the task. `max_output_tokens` bounds the reply.
    """

    instructions: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    task: Any = None
    max_output_tokens: int = 4096


class Usage(msgspec.Struct, frozen=True):
    """What a reply took; `cost_usd` is None when the model has no known price."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0


class ModelReply(msgspec.Struct, frozen=True):
    """A finished reply: text, calls, or both. `model` names who wrote it."""

    model: str
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()


OnText = Callable[[str], Awaitable[None]]


class Model(Protocol):
    """Continues a conversation.

    Raises:
        Failure: the provider failed; `code` starts with `model_`.
    """

    @property
    def name(self) -> str:
        """Return `provider:model`."""
        ...

    async def respond(self, request: ModelRequest, on_text: OnText) -> ModelReply:
        """Return the reply; text is passed to `on_text` piece by piece as it arrives."""
        ...
