"""The model requests of a run: within its time and budget, recorded with what they showed."""

import asyncio

import msgspec

from tidings.domain.budgets import Budget, BudgetSpent, likely_tokens
from tidings.domain.errors import Failure
from tidings.domain.ports import Clock
from tidings.domain.shapes import misfit
from tidings.models.faults import ModelFault
from tidings.models.port import (
    REQUEST_SECONDS_MAX,
    Model,
    ModelReply,
    ModelRequest,
    OnText,
    Usage,
)
from tidings.resilience.priority import Priority
from tidings.runs.journal import Journal
from tidings.runs.outcomes import Fault, ModelAnswer
from tidings.runs.work import Work

MODEL_OWN_SHARE = 0.95
"""The share of its time that a model is told of: the chain ends in it, with a fault that says why;
the rest is for a model that does not keep its time."""


class Requests:
    """Asks the model for one agent of a run."""

    def __init__(self, clock: Clock, journal: Journal, work: Work, budget: Budget) -> None:
        self._clock = clock
        self._journal = journal
        self._work = work
        self._budget = budget

    async def ask(
        self, key: str, request: ModelRequest, on_text: OnText, model: Model
    ) -> ModelAnswer:
        """Return how the step ended, in this attempt or before.

        Raises:
            BudgetSpent: there is no room for it.
        """
        if self._journal.is_done(key):
            answer = self._journal.recorded(key, ModelAnswer)
        else:
            await self._reserve(key, request_tokens(request))
            with self._work.written.watched() as shown:
                answer = await self._respond(model, request, on_text)
            answer = msgspec.structs.replace(answer, shown=tuple(sorted(shown)))
            await self._journal.finish(key, "model", answer)
            self._work.dirty.set()
        self._work.written.ended(answer.shown, well=answer.reply is not None)
        self._count(answer.usage if answer.reply is None else answer.reply.usage)
        return answer

    async def _respond(self, model: Model, request: ModelRequest, on_text: OnText) -> ModelAnswer:
        seconds = min(self._seconds(), request.seconds_max)
        own = seconds * MODEL_OWN_SHARE
        background = self._journal.run.request.background
        priority = Priority.BACKGROUND if background else request.priority
        request = msgspec.structs.replace(request, seconds_max=own, priority=priority)
        try:
            async with asyncio.timeout(seconds):
                reply = await model.respond(request, on_text)
        except Failure as error:
            told = Fault(error.code, error.message, error.retryable)
            if not isinstance(error, ModelFault):
                return ModelAnswer(None, told)
            return ModelAnswer(None, told, error.usage, partial=error.shown)
        except TimeoutError:
            return ModelAnswer(None, _MODEL_TIMEOUT, Usage(cost_usd=None))
        if _is_unfit(request, reply):
            return ModelAnswer(None, _MODEL_UNFIT, reply.usage)
        return ModelAnswer(reply)

    def _seconds(self) -> float:
        return min(REQUEST_SECONDS_MAX, self._journal.run.remaining_seconds(self._clock.now()) / 2)

    async def _reserve(self, key: str, tokens: int) -> None:
        """Have room for a model request in the budgets of the run and the day."""
        wanted = self._work.reservation(tokens)
        try:
            self._work.check(self._budget, wanted)
            await self._journal.reserve(key, wanted, self._budget)
        except BudgetSpent as error:
            self._work.over = error
            raise

    def _count(self, usage: Usage) -> None:
        work = self._work
        work.model_requests += usage.requests
        work.input_tokens += usage.input_tokens
        work.output_tokens += usage.output_tokens
        known = work.cost_usd is not None and usage.cost_usd is not None
        work.cost_usd = (work.cost_usd or 0.0) + (usage.cost_usd or 0.0) if known else None


def _is_unfit(request: ModelRequest, reply: ModelReply) -> bool:
    """Return whether a model, of whatever make, has not given the value that was asked for."""
    if request.schema is None or (reply.calls and request.tools):
        return False
    return bool(misfit(request.schema, reply.value))


_MODEL_UNFIT = Fault(
    "model_output_unfit", "The model did not answer in the form that was asked for.", retryable=True
)
_MODEL_TIMEOUT = Fault("model_timeout", "The model did not answer in time.")


def request_tokens(request: ModelRequest) -> int:
    """Return what a request may take: what is reserved for it."""
    text = len(request.instructions) + sum(len(m.text) for m in request.messages)
    tools = sum(len(t.description) + len(str(t.parameters)) for t in request.tools)
    return likely_tokens(text + tools, request.max_output_tokens)
