"""A language model, whoever hosts it, behind one method."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from tidings.domain.shapes import check_schema
from tidings.resilience.priority import Priority

REQUEST_SECONDS_MAX = 120.0


class ToolSpec(msgspec.Struct, frozen=True):
    """A tool as a model is told of it; `parameters` is JSON Schema.

    `foreign`: what it says of itself was written by somebody else.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    foreign: bool = False


class ToolCall(msgspec.Struct, frozen=True):
    """A call the model asks for; `arguments` are unchecked, whatever the model wrote.

    One with an `error`, `<code>: <sentence>`, cannot be made: it is the answer to the call.
    """

    id: str
    name: str
    arguments: dict[str, Any]
    error: str = ""


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
    model reads the text, the built-in planner reads the task. `max_output_tokens` bounds the reply,
    `seconds_max` the time from the call to its end, retries and fallbacks included. With a `schema`
    the reply, if it is no calls, is a value that fits it, in the words of JSON Schema that
    `domain.shapes` knows.

    Raises:
        ValueError: the schema uses other words, or is none of an object.
    """

    instructions: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    task: Any = None
    max_output_tokens: int = 4096
    seconds_max: float = REQUEST_SECONDS_MAX
    priority: Priority = Priority.INTERACTIVE
    schema: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.schema is None:
            return
        check_schema(self.schema)
        if self.schema.get("type") != "object":
            raise ValueError("the schema of a reply must be that of an object")


class Usage(msgspec.Struct, frozen=True):
    """What was taken, by so many requests to providers; those that failed count.

    `cost_usd` is None when it is not known: the model has no known price, or a reply broke off
    before it said what it took.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0
    requests: int = 1

    def plus(self, other: "Usage") -> "Usage":
        """Return both together; with something unknown in it a cost is unknown."""
        known = self.cost_usd is not None and other.cost_usd is not None
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            (self.cost_usd or 0.0) + (other.cost_usd or 0.0) if known else None,
            self.requests + other.requests,
        )


NOTHING_USED = Usage(requests=0)


class Fallback(msgspec.Struct, frozen=True):
    """A model that was asked first and failed: its name, the fault's code and sentence."""

    model: str
    code: str
    message: str


class ModelReply(msgspec.Struct, frozen=True):
    """A finished reply: text, calls, or both; or the value that was asked for. `model` wrote it.

    `fallbacks` are the models in whose place it answered; who asked has to say so. `body` is the
    reply in the JSON of the framework whose conversation was the request's task; else null.
    """

    model: str
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    fallbacks: tuple[Fallback, ...] = ()
    value: Any = None
    body: msgspec.Raw = msgspec.Raw(b"null")


OnText = Callable[[str], Awaitable[None]]


async def unseen(_text: str) -> None:
    """Take text that nobody watches: a request with this as its `on_text` may be tried again."""


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
        """Return the reply; text is passed to `on_text` piece by piece as it arrives.

        Not so with a schema: half a value says nothing.
        """
        ...
