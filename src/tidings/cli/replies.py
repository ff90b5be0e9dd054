"""What a person at a terminal says to a run that asks."""

import asyncio
from collections.abc import Callable
from typing import Literal

import msgspec

from tidings.domain.commands import AnswerInput, AnswerPayload, Approve, ApprovePayload
from tidings.domain.events import Event, EventType
from tidings.domain.ports import IdSource

Read = Callable[[str], str]
"""Shows a prompt and returns the line that a person writes."""


class Replies:
    """Makes commands of what is read."""

    def __init__(self, ids: IdSource, read: Read) -> None:
        self._ids = ids
        self._read = read

    async def to(self, event: Event) -> AnswerInput | Approve | None:
        """Return the answer to what an event asks; None if it asks nothing."""
        if event.run_id is None:
            return None
        asked = event.payload
        if event.type == EventType.INPUT_REQUIRED:
            line = await asyncio.to_thread(self._read, "Your answer: ")
            value = _value(line, asked.get("schema") or {})
            answer = AnswerPayload(event.run_id, asked["request_id"], value)
            return AnswerInput(self._ids.new("m"), answer)
        if event.type == EventType.APPROVAL_REQUIRED:
            line = await asyncio.to_thread(self._read, "Allow exactly this call? [y/N] ")
            yes = line.strip().lower() in {"y", "yes"}
            decision: Literal["allow", "deny"] = "allow" if yes else "deny"
            leave = ApprovePayload(
                event.run_id, asked["call_id"], decision, asked["arguments_hash"]
            )
            return Approve(self._ids.new("m"), leave)
        return None


def _value(line: str, schema: dict[str, object]) -> object:
    """Return a line as the JSON that is asked for, else as text."""
    if schema.get("type", "string") == "string":
        return line.strip()
    try:
        return msgspec.json.decode(line)
    except msgspec.DecodeError:
        return line.strip()
