"""How a server is, in values: each section says of one thing how it does. Their text is plain."""

from dataclasses import dataclass, field

from tidings.domain.tiers import TierHealth, TierState
from tidings.health.probes import ProbeResult


@dataclass(frozen=True, slots=True)
class PartHealth:
    """A part of the server: how often it was begun again, and how long ago (s) it crashed last."""

    name: str
    restarts: int
    crashed_seconds: float | None


@dataclass(frozen=True, slots=True)
class ModelHealth:
    """A model: its breaker (`closed`, `half_open`, `open`), requests under way, its last fault."""

    name: str
    breaker: str
    under_way: int
    fault: str


@dataclass(frozen=True, slots=True)
class ToolHealth:
    """A tool: for how many users its breaker is open, and for how many it is being tried again."""

    name: str
    resting_users: int
    trying_users: int


@dataclass(frozen=True, slots=True)
class ToolServerHealth:
    """How a tool server is.

    `state` is `starting`, `up` or `down`, `fault` why, for the operator. `tools` were accepted; the
    `changed` are not called. `outcomes` counts calls by `ok`, `abandoned` (the caller left or its
    time was up) or the code of their error. Latencies in seconds, of the last calls that ended;
    None without any.
    """

    name: str
    state: str
    fault: str = ""
    tools: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    restarts: int = 0
    under_way: int = 0
    waiting: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    median_seconds: float | None = None
    slowest_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class AgentHealth:
    """An agent: whether it gets work, and what became of its runs within the window.

    `users` had a run that failed; `stands_in_for` names those whose work it can take.
    """

    name: str
    well: bool
    ended: int
    failed: int
    users: int
    stands_in_for: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QueueHealth:
    """The runs that have not ended: `ready` only want for room, for so long one more would wait.

    `shed` were refused by this process; `overload` names the bound that refuses now, or is empty.
    """

    queued: int
    ready: int
    running: int
    waiting: int
    wait_seconds: float
    shed: int
    overload: str


@dataclass(frozen=True, slots=True)
class LoopHealth:
    """The event loop: how late it is, was at most within a minute; how often it stood still."""

    lag_seconds: float
    lag_seconds_max: float
    blocks: int
    last_block: str


@dataclass(frozen=True, slots=True)
class SpendingHealth:
    """What all users have spent on a day (UTC), and how many of them."""

    day: str
    users: int
    tokens: int
    usd: float
    steps: int


@dataclass(frozen=True, slots=True)
class Concern:
    """Something that is not well: `detail` is for the operator, `users` what users notice of it.

    `users` is a sentence that can be shown to them, or empty when they notice nothing.
    """

    code: str
    state: TierState
    detail: str
    users: str


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """A process of the fleet, as it has told of itself at `heard_at` (seconds since 1970 UTC).

    `state` is `up`, `stopping` or `gone`: not heard of for so long that nobody counts on it. It
    works on `room` runs at once, on `running` now. `tiers` are their states by name as it sees
    them; `concerns` what is not well there; `alike` fingerprints, by name, of what should be the
    same on all. `is_this`: it is the process that says all this.
    """

    node_id: str
    name: str
    role: str
    version: str
    state: str
    is_this: bool
    started_at: float
    heard_at: float
    room: int
    running: int
    connections: int
    loop_lag_seconds: float
    tiers: dict[str, str]
    concerns: tuple[Concern, ...]
    alike: dict[str, str]


@dataclass(frozen=True, slots=True)
class Sections:
    """Everything that is known, section by section; None where it could not be found out.

    `nodes` is empty where one process owns the store, and until it has heard of the others.
    `clock_ahead_seconds`: the machine's own clock before that of the store; less than 0 is behind.
    """

    draining: bool
    checks: tuple[ProbeResult, ...]
    parts: tuple[PartHealth, ...]
    tiers: tuple[TierHealth, ...]
    models: tuple[ModelHealth, ...]
    tools: tuple[ToolHealth, ...]
    tool_servers: tuple[ToolServerHealth, ...]
    agents: tuple[AgentHealth, ...]
    queue: QueueHealth
    loop: LoopHealth
    connections: int
    outbox_lag_seconds: float
    clock_ahead_seconds: float
    spending: SpendingHealth | None
    nodes: tuple[NodeHealth, ...]


@dataclass(frozen=True, slots=True)
class ServerHealth:
    """A server as a whole: its state, what that means for users, why, and all there is to know.

    `looked_at` is in seconds since 1970 UTC.
    """

    state: TierState
    meaning: str
    concerns: tuple[Concern, ...]
    version: str
    looked_at: float
    up_seconds: float
    sections: Sections
