"""What may happen in a run, and the shape in which it is told."""

from enum import StrEnum
from typing import Any

import msgspec


class EventType(StrEnum):
    """The closed registry of events; see docs/protocol.md."""

    MESSAGE_RECEIVED = "message_received"
    AGENT_STARTED = "agent_started"
    SUBAGENT_STARTED = "subagent_started"
    SUBAGENT_COMPLETED = "subagent_completed"
    AGENT_THINKING = "agent_thinking"
    TOOL_EXECUTING = "tool_executing"
    TOOL_COMPLETED = "tool_completed"
    ANSWER_DELTA = "answer_delta"
    NOTICE = "notice"
    INPUT_REQUIRED = "input_required"
    APPROVAL_REQUIRED = "approval_required"
    REQUEST_SETTLED = "request_settled"
    AGENT_COMPLETED = "agent_completed"
    AGENT_FAILED = "agent_failed"
    AGENT_CANCELLED = "agent_cancelled"
    THREAD_CREATED = "thread_created"
    THREAD_ACTIVITY = "thread_activity"
    INBOX_ITEM = "inbox_item"


TERMINAL = frozenset({EventType.AGENT_COMPLETED, EventType.AGENT_FAILED, EventType.AGENT_CANCELLED})
ASKING = frozenset({EventType.INPUT_REQUIRED, EventType.APPROVAL_REQUIRED})
"""With these a run begins to wait for a person."""
NOTIFIED = TERMINAL | ASKING
"""Of these a user hears later, if no device of his has acknowledged them; see `events.outbox`."""
CRITICAL = frozenset(
    {
        EventType.AGENT_STARTED,
        EventType.AGENT_THINKING,
        EventType.TOOL_EXECUTING,
        EventType.TOOL_COMPLETED,
        EventType.AGENT_COMPLETED,
    }
)


class Draft(msgspec.Struct, frozen=True):
    """An event before it has a place in the log.

    `event_id` is given by whoever may have to repeat the append; the log keeps the first.
    """

    event_id: str
    type: EventType
    payload: dict[str, Any]
    agent: str | None = None
    run_id: str | None = None
    thread_id: str | None = None


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of a stream, exactly as it stands on the wire and in the log.

    `offset` counts from 1 without holes in its stream. `timestamp` is RFC 3339, UTC. An event with
    a `first_offset` stands for all from there to `offset`: pieces of one answer, joined.
    """

    type: str
    event_id: str
    stream: str
    epoch: str
    offset: int
    timestamp: str
    first_offset: int | None = None
    run_id: str | None = None
    thread_id: str | None = None
    agent: str | None = None
    payload: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def first(self) -> int:
        """The first offset that this event stands for."""
        return self.offset if self.first_offset is None else self.first_offset


def thread_stream(thread_id: str) -> str:
    """Return the stream that holds all events of a conversation."""
    return f"thread:{thread_id}"


def user_stream(user_id: str) -> str:
    """Return the stream of what concerns a user beyond one conversation."""
    return f"user:{user_id}"
