"""Models that say what the test wrote for them."""

from typing import Any

import msgspec

from tidings.domain.errors import TidingsError
from tidings.domain.shapes import misfit
from tidings.models.faults import unfit
from tidings.models.planner import Planner
from tidings.models.port import Message, ModelReply, ModelRequest, OnText, ToolCall, Usage


class ScriptedModel:
    """Answers each request with the text of its last message, in upper case; counts requests."""

    def __init__(self) -> None:
        self.requests = 0

    @property
    def name(self) -> str:
        return "test:scripted"

    async def respond(self, request: ModelRequest, on_text: OnText) -> ModelReply:
        self.requests += 1
        text = request.messages[-1].text.upper()
        for word in text.split():
            await on_text(word + " ")
        return ModelReply(self.name, text, usage=Usage(10, len(text.split()), 0.001))


def says(text: str) -> ModelRequest:
    """Return a request that ends with this message."""
    return ModelRequest("Be brief.", (Message("user", text),))


class PartModel:
    """Plays a language model part by part: for each kind of task the replies, in order.

    A reply is what to return, or the error to raise; when a part has no more, the planner plays it.
    """

    def __init__(self, **parts: list[ModelReply | TidingsError]) -> None:
        self.requests: list[ModelRequest] = []
        self._parts = parts
        self._planner = Planner()

    @property
    def name(self) -> str:
        return "test:parts"

    async def respond(self, request: ModelRequest, on_text: OnText) -> ModelReply:
        self.requests.append(request)
        replies = self._parts.get(type(request.task).__name__, [])
        if not replies:
            reply = await self._planner.respond(request, on_text)
            return msgspec.structs.replace(reply, model=self.name)
        reply_or_error = replies.pop(0)
        if isinstance(reply_or_error, TidingsError):
            raise reply_or_error
        if request.schema is not None:
            return _valued(reply_or_error, request.schema)
        await on_text(reply_or_error.text)
        return reply_or_error

    def asked(self, task: type) -> list[ModelRequest]:
        """Return the requests that carried this kind of task."""
        return [request for request in self.requests if isinstance(request.task, task)]


def _valued(written: ModelReply, schema: dict[str, Any]) -> ModelReply:
    """Return a reply with the value that its text is, as the port promises."""
    try:
        value = msgspec.json.decode(written.text)
    except msgspec.MsgspecError:
        raise unfit(written.model, "It is no JSON.", written.text) from None
    if wrong := misfit(schema, value):
        raise unfit(written.model, wrong, written.text)
    return msgspec.structs.replace(written, value=value)


def reply(text: str = "", *calls: ToolCall) -> ModelReply:
    """Return a reply of the model played by parts."""
    return ModelReply("test:parts", text, calls)
