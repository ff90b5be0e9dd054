"""What a model wrote, made safe to keep: bounded, valid text, every call with an id of its own."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from tidings.domain.shapes import ARGUMENTS_BYTES_MAX
from tidings.models.port import ToolCall

CALLS_PER_REPLY_MAX = 32
CALL_ID_CHARACTERS_MAX = 64

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
UNNAMED = "unnamed"
"""Stands for a tool's name that no provider would take back."""

_TOO_LARGE = f"arguments_too_large: Arguments may be {ARGUMENTS_BYTES_MAX} bytes; ask for less."
_NOT_AN_OBJECT = "invalid_arguments: The arguments are no JSON object; send the call again."
_DUPLICATE = "duplicate_call_id: Another call of this reply has this id; send the call again."
_UNKNOWN = "unknown_tool: There is no tool of such a name; use one that was listed."
_FAULTS = (msgspec.MsgspecError, RecursionError, ValueError, TypeError, OverflowError)


class WrittenCall(NamedTuple):
    """A call as a model wrote it; each part may be anything."""

    id: Any
    name: Any
    arguments: Any


def clean(text: str) -> str:
    """Return the text without what is no character: halves of surrogate pairs."""
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode()


def checked_calls(written: Iterable[WrittenCall], taken: Iterable[str]) -> tuple[ToolCall, ...]:
    """Return the calls; those that cannot be made carry the error that is their answer.

    `taken` are ids of earlier turns. A model that numbers its calls from 1 in every turn means no
    harm: such a call gets another id. Within a reply the same id twice is a fault.
    """
    ids, in_reply = set(taken), set[str]()
    calls = []
    for number, call in enumerate(written, 1):
        told = clean(call.id)[:CALL_ID_CHARACTERS_MAX] if isinstance(call.id, str) else ""
        call_id = _free(told or f"call_{number}", ids)
        error = _DUPLICATE if told and told in in_reply else ""
        ids.add(call_id)
        in_reply.add(told)
        calls.append(_checked(call_id, call, error))
    return tuple(calls)


def _checked(call_id: str, call: WrittenCall, error: str) -> ToolCall:
    name = call.name if isinstance(call.name, str) and _NAME.fullmatch(call.name) else UNNAMED
    if name is UNNAMED:
        return ToolCall(call_id, name, {}, error or _UNKNOWN)
    arguments, fault = _arguments(call.arguments)
    return ToolCall(call_id, name, arguments, error or fault)


def _arguments(written: Any) -> tuple[dict[str, Any], str]:
    """Return arguments that can be kept as JSON, or none and what is wrong with them."""
    if written in (None, ""):
        return {}, ""
    try:
        if not isinstance(written, str):
            written = msgspec.json.encode(written).decode()
        if len(written) > ARGUMENTS_BYTES_MAX:
            return {}, _TOO_LARGE
        arguments = msgspec.json.decode(written)
        msgspec.json.encode(arguments)
    except _FAULTS:
        return {}, _NOT_AN_OBJECT
    return (arguments, "") if isinstance(arguments, dict) else ({}, _NOT_AN_OBJECT)


def _free(wanted: str, taken: set[str]) -> str:
    """Return the id, or the first variation of it that is free."""
    if wanted not in taken:
        return wanted
    number = 2
    while f"{wanted}.{number}" in taken:
        number += 1
    return f"{wanted}.{number}"
