"""A model that says what is written for it."""

from typing import Any

import msgspec

from tidings.domain.errors import Failure
from tidings.models.faults import ModelFault
from tidings.models.port import ModelReply, ModelRequest, OnText, ToolCall


class Script:
    """A model that gives the n-th request the n-th reply; `requests` are what it was asked.

    After a crash it goes on where the run does: what is on record is not asked for again.
    """

    def __init__(self, *replies: ModelReply | ModelFault) -> None:
        self.requests: list[ModelRequest] = []
        self._replies = replies
        self._next = 0

    @property
    def name(self) -> str:
        return "script"

    def go_on_at(self, number: int) -> None:
        """Give the reply of this number next; 0 is the first."""
        self._next = number

    async def respond(self, request: ModelRequest, on_text: OnText) -> ModelReply:
        """Return the next reply.

        Raises:
            ModelFault: it was written so.
            Failure: `script_ended`: no reply is left.
        """
        number, self._next = self._next, self._next + 1
        self.requests.append(request)
        if number >= len(self._replies):
            raise Failure("script_ended", f"The script has no reply for request {number + 1}.")
        reply = self._replies[number]
        if isinstance(reply, ModelFault):
            raise reply
        if request.schema is None and reply.text:
            await on_text(reply.text)
        calls = [
            msgspec.structs.replace(call, id=f"call_{number}_{place}")
            for place, call in enumerate(reply.calls)
        ]
        return msgspec.structs.replace(reply, calls=tuple(calls))


def says(text: str) -> ModelReply:
    """Return the reply that is this text."""
    return ModelReply("script", text)


def gives(value: Any) -> ModelReply:
    """Return the reply that is this value, for a request with a schema."""
    return ModelReply("script", value=value)


def call(tool: str, **arguments: Any) -> ToolCall:
    """Return a call of a tool, for `wants`."""
    return ToolCall("", tool, arguments)


def wants(*calls: ToolCall) -> ModelReply:
    """Return the reply that makes these calls."""
    return ModelReply("script", calls=calls)
