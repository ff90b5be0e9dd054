"""A run: one execution of an agent for one command."""

from enum import StrEnum
from typing import Any

import msgspec

from tidings.domain.context import UserContext


class RunState(StrEnum):
    """Where a run is in its life; `ended` is final."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"


class RunRequest(msgspec.Struct, frozen=True):
    """What the user asked for: text, and the ids of the files it is about."""

    text: str
    files: tuple[str, ...] = ()


class Run(msgspec.Struct, frozen=True):
    """A claimed unit of durable work. `fence` grows with every claim and guards every write.

    `created_at` and `deadline_at` are seconds since 1970 UTC; `attempt` counts claims.
    """

    run_id: str
    context: UserContext
    thread_id: str
    agent: str
    request: RunRequest
    created_at: float
    deadline_at: float
    fence: int = 0
    attempt: int = 0
    cancel_requested: bool = False


class Outcome(msgspec.Struct, frozen=True):
    """How an agent ended its run.

    `status` is `completed`, or `degraded` when a fallback had to stand in; the answer is Markdown.
    """

    answer: str
    status: str = "completed"
    report_id: str | None = None
    quality: dict[str, Any] | None = None
