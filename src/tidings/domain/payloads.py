"""What the payload of each type of event holds, as clients may rely on it.

Events are told with plain dictionaries; these types are what the documents are made from and what
the tests hold every event against. A client ignores fields that it does not know.
"""

from typing import Any, Literal

import msgspec

from tidings.domain.events import EventType
from tidings.domain.facts import Fact, Table
from tidings.domain.proof import Proof


class MessageReceived(msgspec.Struct, frozen=True):
    """What the user said, with the files it is about and the agent it is for."""

    text: str
    files: tuple[str, ...]
    agent: str


class AgentStarted(msgspec.Struct, frozen=True):
    """What the run's agent is about to do, and until when (RFC 3339)."""

    task_description: str
    plan: list[str]
    deadline_at: str


class SubagentStarted(msgspec.Struct, frozen=True):
    """An agent begins to work for another."""

    task_description: str
    parent: str


class SubagentCompleted(msgspec.Struct, frozen=True):
    """It has ended."""

    summary: str
    ok: bool


class AgentThinking(msgspec.Struct, frozen=True):
    """What is considered; `progress` is the share of the run's work, 0..1.

    `elapsed` (seconds): the worker says that a step takes its time.
    """

    reasoning: str
    progress: float
    elapsed: float | None = None


class ToolExecuting(msgspec.Struct, frozen=True):
    """A call begins."""

    call_id: str
    tool: str
    purpose: str
    arguments: dict[str, Any]


class CallFault(msgspec.Struct, frozen=True):
    """Why a call failed."""

    code: str
    message: str
    retryable: bool


class StoredResult(msgspec.Struct, frozen=True):
    """Where the whole of a result is, for its user, and how many bytes it has as JSON."""

    path: str
    bytes: int


class CallResult(msgspec.Struct, frozen=True):
    """What a call found, bounded; a table that was cut says so. `stored`: there is more."""

    facts: list[Fact]
    table: Table | None
    notes: list[str]
    content: str = ""
    stored: StoredResult | None = None


class ToolCompleted(msgspec.Struct, frozen=True):
    """The call has ended, with a result or an error; `tries`: it was made more than once."""

    call_id: str
    tool: str
    ok: bool
    summary: str
    duration_ms: float
    result: CallResult | None = None
    error: CallFault | None = None
    tries: int = 1


class AnswerDelta(msgspec.Struct, frozen=True):
    """A piece of the answer; with `lengths`, several joined, of so many code points each."""

    message_id: str
    text: str
    lengths: list[int] | None = None


class Notice(msgspec.Struct, frozen=True):
    """Something is not as it should be."""

    code: str
    message: str


class InputRequired(msgspec.Struct, frozen=True):
    """The run waits for an answer until `expires_at` (RFC 3339); `schema` is its shape."""

    request_id: str
    question: str
    expires_at: str
    schema: dict[str, Any] | None = None


class ApprovalRequired(msgspec.Struct, frozen=True):
    """The run waits for leave to make exactly this call.

    `arguments_hash` is the SHA-256 of the tool and the arguments: leave is given with it. So many
    calls ask `together`, each by its event: the run goes on when each has its answer.
    """

    call_id: str
    tool: str
    arguments: dict[str, Any]
    arguments_hash: str
    reason: str
    expires_at: str
    together: int = 1


class RequestSettled(msgspec.Struct, frozen=True):
    """What the run waited for has come, or will not; `request_id` may be that of a call.

    The run goes on with the last of what it waits for, until `deadline_at`: waiting does not count
    as its time.
    """

    request_id: str
    outcome: Literal["answered", "allowed", "denied", "expired"]
    deadline_at: str
    value: Any = None


class StoppedAt(msgspec.Struct, frozen=True):
    """The step at which a run was stopped: who did what, after how many finished steps."""

    agent: str
    name: str
    steps_done: int


class RunUsage(msgspec.Struct, frozen=True):
    """What the run took; `cost_usd` is null when a price is unknown."""

    model_requests: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None


class RunSummary(msgspec.Struct, frozen=True):
    """What the run did."""

    steps: int
    tools: int
    attempts: int
    duration_ms: int


class AgentCompleted(msgspec.Struct, frozen=True):
    """The run's end, with an answer in Markdown; `degraded`: a fallback stood in.

    `reasons` say why it is degraded, as notices have told before; none: its agent gave none.
    `output` is the answer as a JSON value, where the agent gives one. `incomplete`: messages whose
    text was shown and cut off; the answer is not one of them.
    """

    status: Literal["completed", "degraded"]
    answer: str
    report_id: str | None
    quality: dict[str, Any] | None
    usage: RunUsage
    summary: RunSummary
    proof: Proof
    output: Any = None
    incomplete: list[str] = []
    reasons: list[Notice] = []


class AgentFailed(msgspec.Struct, frozen=True):
    """The run's end, without an answer, or with what there was of one, which is `incomplete`."""

    code: str
    message: str
    retryable: bool
    usage: RunUsage
    summary: RunSummary
    proof: Proof
    partial_answer: str | None = None
    incomplete: list[str] = []


class AgentCancelled(msgspec.Struct, frozen=True):
    """The run's end, because it was stopped, with what there was of an answer.

    `step` is null when it had not begun. With the reason `budget`, `limit` names what was spent.
    """

    reason: Literal["user", "interrupted", "budget"]
    usage: RunUsage
    summary: RunSummary
    proof: Proof
    step: StoppedAt | None = None
    partial_answer: str | None = None
    incomplete: list[str] = []
    limit: str | None = None
    message: str | None = None


class ThreadCreated(msgspec.Struct, frozen=True):
    """A conversation began; on the user's stream."""

    title: str


class ThreadActivity(msgspec.Struct, frozen=True):
    """A run is in another state, and its thread reaches to `head`; on the user's stream."""

    run_id: str
    state: Literal["queued", "waiting", "ended"]
    head: int


class InboxItemAdded(msgspec.Struct, frozen=True):
    """Something waits in the inbox, for no device had it; on the user's stream."""

    item_id: str
    thread_id: str
    run_id: str
    offset: int
    kind: str
    status: str
    title: str


PAYLOADS: dict[EventType, type[msgspec.Struct]] = {
    EventType.MESSAGE_RECEIVED: MessageReceived,
    EventType.AGENT_STARTED: AgentStarted,
    EventType.SUBAGENT_STARTED: SubagentStarted,
    EventType.SUBAGENT_COMPLETED: SubagentCompleted,
    EventType.AGENT_THINKING: AgentThinking,
    EventType.TOOL_EXECUTING: ToolExecuting,
    EventType.TOOL_COMPLETED: ToolCompleted,
    EventType.ANSWER_DELTA: AnswerDelta,
    EventType.NOTICE: Notice,
    EventType.INPUT_REQUIRED: InputRequired,
    EventType.APPROVAL_REQUIRED: ApprovalRequired,
    EventType.REQUEST_SETTLED: RequestSettled,
    EventType.AGENT_COMPLETED: AgentCompleted,
    EventType.AGENT_FAILED: AgentFailed,
    EventType.AGENT_CANCELLED: AgentCancelled,
    EventType.THREAD_CREATED: ThreadCreated,
    EventType.THREAD_ACTIVITY: ThreadActivity,
    EventType.INBOX_ITEM: InboxItemAdded,
}
