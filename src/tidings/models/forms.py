"""The form of a value, told in words: for models that take no other, and those that missed it."""

from typing import Any

import msgspec

from tidings.models.faults import ModelFault
from tidings.models.port import Message, ModelRequest


def told_form(schema: dict[str, Any]) -> str:
    """Return how to give a value, for a model that reads nothing but text."""
    written = msgspec.json.encode(schema).decode()
    return f"Answer with JSON alone, no other text, that fits this schema:\n{written}"


def mending(request: ModelRequest, unfit: ModelFault) -> ModelRequest:
    """Return the request again, with the value that did not fit and what was wrong with it."""
    told = f"That does not fit. {unfit.wrong} {told_form(request.schema or {})}"
    written = (Message("assistant", unfit.wrote),) if unfit.wrote.strip() else ()
    messages = (*request.messages, *written, Message("user", told))
    return msgspec.structs.replace(request, messages=messages)
