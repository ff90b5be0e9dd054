"""What a person at a terminal says to a run that asks."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from tidings.domain.commands import AnswerInput, AnswerPayload, Approve, ApprovePayload
from tidings.domain.events import Event, EventType
from tidings.domain.ports import IdSource

Read = Callable[[str], str]
"""Shows a prompt and returns the line that a person writes."""


class Replies:
    """Makes commands of what is read; calls that ask together are shown before one is decided."""

    def __init__(self, ids: IdSource, read: Read) -> None:
        self._ids = ids
        self._read = read
        self._calls: list[Event] = []

    async def to(self, event: Event) -> Sequence[AnswerInput | Approve]:
        """Return the answers to what was asked up to this event; none while more is to come."""
        if event.run_id is None:
            return ()
        asked = event.payload
        if event.type == EventType.INPUT_REQUIRED:
            line = await asyncio.to_thread(self._read, "Your answer: ")
            value = _value(line, asked.get("schema") or {})
            answer = AnswerPayload(event.run_id, asked["request_id"], value)
            return [AnswerInput(self._ids.new("m"), answer)]
        if event.type == EventType.APPROVAL_REQUIRED:
            self._calls.append(event)
            if len(self._calls) == asked.get("together", 1):
                calls, self._calls = self._calls, []
                return [await self._leave(call, n, len(calls)) for n, call in enumerate(calls, 1)]
        return ()

    async def _leave(self, event: Event, number: int, count: int) -> Approve:
        asked = event.payload
        which = f"call {number} of {count}, {asked['tool']}" if count > 1 else "exactly this call"
        line = await asyncio.to_thread(self._read, f"Allow {which}? [y/N] ")
        yes = line.strip().lower() in {"y", "yes"}
        decision: Literal["allow", "deny"] = "allow" if yes else "deny"
        leave = ApprovePayload(
            event.run_id or "", asked["call_id"], decision, asked["arguments_hash"]
        )
        return Approve(self._ids.new("m"), leave)


def _value(line: str, schema: dict[str, object]) -> object:
    """Return a line as the JSON that is asked for, else as text."""
    if schema.get("type", "string") == "string":
        return line.strip()
    try:
        return msgspec.json.decode(line)
    except msgspec.DecodeError:
        return line.strip()
