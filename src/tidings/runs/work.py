"""What the agents of one run share."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from tidings.domain.budgets import Budget, BudgetSpent, Spent, exceeded
from tidings.domain.facts import Fact, ToolResult
from tidings.domain.payloads import Notice, StoppedAt
from tidings.runs.conversation import Turn
from tidings.runs.written import Written

CALLS_AT_ONCE_MAX = 8


class At(msgspec.Struct, frozen=True):
    """A step under way: whose, what, and since when by the monotonic clock."""

    agent: str
    step: str
    since: float


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


class Work(msgspec.Struct):
    """What the agents of one run share: counters, facts and results so far.

    `tainted`: it has seen content that somebody else may have written. `last`: the step that was
    begun last. `over`: a budget had no room for a step, so the run must end. `fallbacks`: models
    that failed, and who answered in their place. `reasons`: why the run is degraded. `calls_open`:
    the calls under way; none is when it is `quiet`, and there is `room` for some at once.
    `written`: the text that was shown. `named`: the steps that this attempt has come to by name.
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
    last: At | None = None
    progress: float = 0.0
    history: tuple[Turn, ...] | None = None
    fallbacks: set[tuple[str, str]] = msgspec.field(default_factory=set)
    reasons: list[Notice] = msgspec.field(default_factory=list)
    facts: dict[str, Fact] = msgspec.field(default_factory=dict)
    results: dict[str, ToolResult] = msgspec.field(default_factory=dict)
    dirty: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    written: Written = msgspec.field(default_factory=Written)
    named: set[str] = msgspec.field(default_factory=set)
    calls_open: dict[str, At] = msgspec.field(default_factory=dict)
    quiet: asyncio.Event = msgspec.field(default_factory=_set)
    room: asyncio.Semaphore = msgspec.field(
        default_factory=lambda: asyncio.Semaphore(CALLS_AT_ONCE_MAX)
    )

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
        self.last = At(agent, step, now)

    @contextmanager
    def named_once(self, key: str) -> Iterator[None]:
        """Do a step by its name around the block; one that fails may be tried again.

        Raises:
            ValueError: there was one of this name: what it gave would be taken for this one's.
        """
        if key in self.named:
            raise ValueError(f"there are two steps {key}; put what tells them apart into the name")
        self.named.add(key)
        try:
            yield
        except BaseException:
            self.named.discard(key)
            raise

    @contextmanager
    def during(self, call_id: str, at: At) -> Iterator[None]:
        """Take note that a call is under way around the block."""
        self.calls_open[call_id] = at
        self.quiet.clear()
        try:
            yield
        finally:
            del self.calls_open[call_id]
            if not self.calls_open:
                self.quiet.set()

    @property
    def at(self) -> At | None:
        """The step that the run is at: of several calls the one that has been under way longest."""
        return next(iter(self.calls_open.values()), self.last)

    def stopped_at(self, steps_done: int) -> StoppedAt | None:
        """Return the step that the run is at."""
        return StoppedAt(self.at.agent, self.at.step, steps_done) if self.at else None
