"""What the agents of one run share."""

import asyncio

import msgspec

from tidings.domain.facts import Fact, ToolResult
from tidings.domain.payloads import StoppedAt
from tidings.runs.history import Turn


class Work(msgspec.Struct):
    """What the agents of one run share: counters, facts and results so far.

    `tainted`: it has seen content that somebody else may have written. `at`: the agent and the step
    that was begun last.
    """

    calls: int = 0
    model_requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0
    started: bool = False
    questions: int = 0
    tainted: bool = False
    at: tuple[str, str] | None = None
    history: tuple[Turn, ...] | None = None
    facts: dict[str, Fact] = msgspec.field(default_factory=dict)
    results: dict[str, ToolResult] = msgspec.field(default_factory=dict)
    dirty: asyncio.Event = msgspec.field(default_factory=asyncio.Event)

    def stopped_at(self, steps_done: int) -> StoppedAt | None:
        """Return the step that the run is at."""
        return StoppedAt(*self.at, steps_done) if self.at else None
