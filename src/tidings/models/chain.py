"""A chain of models: each is asked within its limits; when one fails, the next answers for it."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import msgspec

from tidings.domain.errors import Failure
from tidings.domain.ports import Clock
from tidings.models import faults
from tidings.models.bulkhead import ModelBulkhead
from tidings.models.complaints import Complaints
from tidings.models.faults import Blame, ModelFault
from tidings.models.forms import mending
from tidings.models.patience import TIME_LIMITS, TimeLimits, beat, patience
from tidings.models.port import (
    NOTHING_USED,
    Fallback,
    Model,
    ModelReply,
    ModelRequest,
    OnText,
    Usage,
    unseen,
)
from tidings.resilience.breaker import BREAKER_RULES, Breaker, BreakerRules, BreakerState, Passage
from tidings.resilience.bulkhead import BULKHEAD_RULES, BulkheadRules
from tidings.resilience.retry import RETRY_POLICY, RetryBudget, RetryPolicy, Setback, decide

QUEUE_SECONDS_MAX = 10.0
MENDS_MAX = 1
"""So often a model is told what does not fit in its value; then the next is asked."""
ANSWERED = "ok"
CANCELLED = "cancelled"
"""Outcomes of a request that did not fail; others are codes of faults."""


class Watch(Protocol):
    """Whoever counts what happens with models, by their names."""

    def model_asked(self, model: str, outcome: str, seconds: float) -> None:
        """Count a request that was sent, and how it ended: `ok`, `cancelled`, or a fault's code."""
        ...

    def model_retried(self, model: str) -> None:
        """Count a request that is sent again."""
        ...

    def model_fell_back(self, model: str, code: str) -> None:
        """Count a reply that another model gave in this one's place."""
        ...


@runtime_checkable
class Closing(Protocol):
    """A model that keeps connections."""

    async def close(self) -> None:
        """Let go of them; it is not asked again."""
        ...


class ChainRules(NamedTuple):
    """How each model of a chain is treated."""

    times: TimeLimits = TIME_LIMITS
    retry: RetryPolicy = RETRY_POLICY
    breaker: BreakerRules = BREAKER_RULES
    bulkhead: BulkheadRules = BULKHEAD_RULES


class LinkHealth(NamedTuple):
    """How a model of the chain is: its breaker's state, requests under way, its last fault's code.

    `fault` is empty when its last request was answered.
    """

    model: str
    state: BreakerState
    under_way: int
    fault: str


class Link:
    """One model of a chain, and what is remembered of it."""

    def __init__(self, model: Model, rules: ChainRules) -> None:
        self.model = model
        self.name = model.name
        self.breaker = Breaker(rules.breaker)
        self.bulkhead = ModelBulkhead(model.name, rules.bulkhead)
        self.budget = RetryBudget()
        self.complaints = Complaints(model.name)
        self.fault = ""


class Shown:
    """Passes text on, and remembers what a user may have seen of it."""

    def __init__(self, on_text: OnText) -> None:
        self.anything = False
        self._pieces: list[str] = []
        self._on_text = on_text
        self._watched = on_text is not unseen

    async def show(self, text: str) -> None:
        """Pass a piece on; it is a sign of life."""
        beat()
        if self._watched and text:
            self.anything = True
            self._pieces.append(text)
            await self._on_text(text)

    @property
    def text(self) -> str:
        """What was passed on to somebody."""
        return "".join(self._pieces)


class Attempt(NamedTuple):
    """What the models of a chain are asked: by when, and how many more could be."""

    request: ModelRequest
    shown: Shown
    end: float
    others: int


class Chain:
    """Asks its models in their order.

    One retry layer, one breaker and one bulkhead for each model. A fault moves on to the next model
    unless a user has seen a part of the answer: then the fault is the caller's to deal with. The
    request's `seconds_max` bounds it all; a model's time to begin is a fair share of what remains.
    """

    def __init__(
        self,
        models: tuple[Model, ...],
        clock: Clock,
        chance: Callable[[], float],
        watch: Watch,
        rules: ChainRules,
    ) -> None:
        self._links = tuple(Link(model, rules) for model in models)
        self._clock = clock
        self._chance = chance
        self._watch = watch
        self._rules = rules

    @property
    def name(self) -> str:
        """The first model's name; a reply says who wrote it."""
        return self._links[0].name

    def health(self) -> tuple[LinkHealth, ...]:
        """Return how each model is, in order."""
        now = self._clock.monotonic()
        return tuple(
            LinkHealth(link.name, link.breaker.state(now), link.bulkhead.inside, link.fault)
            for link in self._links
        )

    async def close(self) -> None:
        """Let go of the connections of those models that keep some."""
        for link in self._links:
            if isinstance(link.model, Closing):
                await link.model.close()

    async def respond(self, request: ModelRequest, on_text: OnText) -> ModelReply:
        """Return the reply of the first model that gives one, with what all of them took.

        Raises:
            Failure: the first model's fault when none answered; when a part was shown, the fault
                of the model that wrote it, with that part.
        """
        end = self._clock.monotonic() + request.seconds_max
        shown, used = Shown(on_text), NOTHING_USED
        told: Failure | None = None
        failed: tuple[Fallback, ...] = ()
        for number, link in enumerate(self._links, 1):
            attempt = Attempt(request, shown, end, len(self._links) - number)
            try:
                reply = await self._asked(link, attempt)
            except Failure as fault:
                used = used.plus(fault.usage) if isinstance(fault, ModelFault) else used
                told = fault if told is None or shown.anything else told
                failed = (*failed, Fallback(link.name, fault.code, fault.message))
                if shown.anything or self._clock.monotonic() >= end:
                    break
            else:
                return self._whole(reply, failed, used)
        assert told is not None  # noqa: S101 - a chain has a model
        if isinstance(told, ModelFault):
            told.usage, told.shown = used, shown.text
        raise told

    def _whole(self, reply: ModelReply, failed: tuple[Fallback, ...], used: Usage) -> ModelReply:
        """Return the reply with what it took to get it, and those it stands in for."""
        if not failed:
            return reply
        for fallback in failed:
            self._watch.model_fell_back(fallback.model, fallback.code)
        return msgspec.structs.replace(reply, usage=used.plus(reply.usage), fallbacks=failed)

    async def _asked(self, link: Link, attempt: Attempt) -> ModelReply:
        """Ask one model, again where that is worth it."""
        link.budget.earn()
        used, retries = NOTHING_USED, 0
        while True:
            try:
                reply = await self._admitted(link, attempt)
            except ModelFault as fault:
                used = used.plus(fault.usage)
                wait = self._wait(link, attempt, fault, retries)
                if wait is None:
                    fault.usage = used
                    raise
                if fault.wrong:
                    attempt = attempt._replace(request=mending(attempt.request, fault))
            else:
                if not retries:
                    return reply
                return msgspec.structs.replace(reply, usage=used.plus(reply.usage))
            retries += 1
            link.budget.spend()
            self._watch.model_retried(link.name)
            await asyncio.sleep(wait)

    def _wait(self, link: Link, attempt: Attempt, fault: ModelFault, retries: int) -> float | None:
        remaining = attempt.end - self._clock.monotonic()
        shown = attempt.shown.anything
        told = bool(fault.wrong) and retries >= MENDS_MAX
        passing = fault.passing and not told
        setback = Setback(retries, passing, fault.retry_after_seconds, shown, remaining)
        chance = self._chance()
        return decide(self._rules.retry, setback, allowed=link.budget.allows, chance=chance)

    async def _admitted(self, link: Link, attempt: Attempt) -> ModelReply:
        """Send the request, if there is room and the model is not left alone for now."""
        remaining = attempt.end - self._clock.monotonic()
        queueing = min(QUEUE_SECONDS_MAX, remaining)
        async with link.bulkhead.entered(attempt.request.priority, queueing):
            begun = self._clock.monotonic()
            passage = link.breaker.admit(begun)
            if passage is Passage.REFUSED:
                raise faults.resting(link.name, link.breaker.wait_seconds(begun))
            outcome = CANCELLED
            try:
                reply = await self._timed(link, attempt, attempt.end - begun)
                outcome = ANSWERED
                self._answered(link, passage)
            except Failure as failure:
                outcome = failure.code
                self._failed(link, passage, failure)
                raise
            finally:
                if outcome is CANCELLED:
                    link.breaker.abandoned(begun, passage)
                self._watch.model_asked(link.name, outcome, self._clock.monotonic() - begun)
            return reply

    async def _timed(self, link: Link, attempt: Attempt, remaining: float) -> ModelReply:
        times = self._rules.times
        first_byte = min(times.first_byte, remaining / (attempt.others + 1))
        async with patience(link.name, times, first_byte=first_byte, total=remaining):
            return await link.model.respond(attempt.request, attempt.shown.show)

    def _answered(self, link: Link, passage: Passage) -> None:
        link.breaker.succeeded(self._clock.monotonic(), passage)
        link.fault = ""
        link.complaints.answered()

    def _failed(self, link: Link, passage: Passage, failure: Failure) -> None:
        """Learn from a failure; one that is the request's own shows that the model is there."""
        blame = failure.blame if isinstance(failure, ModelFault) else Blame.REQUEST
        now = self._clock.monotonic()
        link.fault = failure.code
        if blame is Blame.PROVIDER:
            link.breaker.failed(now, passage)
        elif blame is Blame.REQUEST:
            link.breaker.succeeded(now, passage)
        else:
            link.breaker.abandoned(now, passage)
        link.complaints.failed(failure, link.breaker.state(now), now)
