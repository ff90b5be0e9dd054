"""What the agents of one run share."""

import asyncio

import msgspec

from tidings.domain.budgets import Budget, BudgetSpent, Spent, exceeded
from tidings.domain.facts import Fact, ToolResult
from tidings.domain.payloads import StoppedAt
from tidings.runs.history import Turn


class Work(msgspec.Struct):
    """What the agents of one run share: counters, facts and results so far.

    `tainted`: it has seen content that somebody else may have written. `at`: the agent and the step
    that was begun last, `since` when, by the monotonic clock. `over`: a budget had no room for a
    step, so the run must end. `fallbacks`: models that failed, and who answered
    in their place.
    """

    calls: int = 0
    model_requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0
    started: bool = False
    questions: int = 0
    tainted: bool = False
    over: BudgetSpent | None = None
    at: tuple[str, str] | None = None
    since: float = 0.0
    progress: float = 0.0
    history: tuple[Turn, ...] | None = None
    fallbacks: set[tuple[str, str]] = msgspec.field(default_factory=set)
    facts: dict[str, Fact] = msgspec.field(default_factory=dict)
    results: dict[str, ToolResult] = msgspec.field(default_factory=dict)
    dirty: asyncio.Event = msgspec.field(default_factory=asyncio.Event)

    def check(self, budget: Budget, wanted: Spent) -> None:
        """Check that the run's budget has room for a step.

        Raises:
            BudgetSpent: it has not.
        """
        limit = exceeded(budget, "run", self.spent() + wanted)
        if limit is not None:
            raise BudgetSpent(limit)

    def spent(self) -> Spent:
        """Return what the run has taken so far; calls that were refused count too."""
        tokens = self.input_tokens + self.output_tokens
        return Spent(tokens, self.cost_usd or 0.0, self.model_requests + self.calls, self.calls)

    def reservation(self, tokens: int) -> Spent:
        """Return what to set aside for a request: its tokens, at the run's price so far."""
        taken = self.input_tokens + self.output_tokens
        price = (self.cost_usd or 0.0) / taken if taken else 0.0
        return Spent(tokens, tokens * price, steps=1)

    def enter(self, agent: str, step: str, now: float) -> None:
        """Take note that a step begins."""
        self.at, self.since = (agent, step), now

    def stopped_at(self, steps_done: int) -> StoppedAt | None:
        """Return the step that the run is at."""
        return StoppedAt(*self.at, steps_done) if self.at else None
