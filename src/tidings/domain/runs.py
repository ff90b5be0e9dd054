"""A run: one execution of an agent for one command."""

from enum import StrEnum
from typing import Any

import msgspec

from tidings.domain.context import UserContext


class RunState(StrEnum):
    """Where a run is in its life; a `waiting` one holds no worker, `ended` is final."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    ENDED = "ended"


class CancelReason(StrEnum):
    """Why a run was stopped."""

    USER = "user"
    INTERRUPTED = "interrupted"
    """A newer message took its place."""
    BUDGET = "budget"


class RunRequest(msgspec.Struct, frozen=True):
    """What the user asked for: text, and the ids of the files it is about.

    `background`: nobody waits for it; what somebody waits for goes first.
    """

    text: str
    files: tuple[str, ...] = ()
    background: bool = False


class Run(msgspec.Struct, frozen=True):
    """A claimed unit of durable work. `fence` grows with every claim and guards every write.

    `created_at` and `deadline_at` are seconds since 1970 UTC; `attempt` counts claims, `paused`
    those that ended because the run began to wait. `deadline_at` has moved by `waited_seconds`.
    `cancel_reason`: it was asked to stop.
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
    paused: int = 0
    waited_seconds: float = 0.0
    cancel_reason: CancelReason | None = None

    @property
    def work_seconds(self) -> float:
        """The time the run has for its work, from its command to its deadline, without waiting."""
        return self.deadline_at - self.created_at - self.waited_seconds

    def remaining_seconds(self, now: float) -> float:
        """Return the time until the deadline, at least 0; every time in the run derives from it."""
        return max(0.0, self.deadline_at - now)


class Outcome(msgspec.Struct, frozen=True):
    """How an agent ended its run.

    `status` is `completed`, or `degraded` when a fallback had to stand in; the answer is Markdown.
    `output` is the answer as a JSON value, for programs, where the agent gives one.
    """

    answer: str
    status: str = "completed"
    report_id: str | None = None
    quality: dict[str, Any] | None = None
    output: Any = None
