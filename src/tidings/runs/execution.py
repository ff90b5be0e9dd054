"""One attempt at one run: its agent, its clock, and its end."""

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any

import msgspec

from tidings.domain.budgets import BudgetSpent
from tidings.domain.errors import Failure, TidingsError
from tidings.domain.events import EventType
from tidings.domain.payloads import Notice
from tidings.domain.runs import CancelReason, Outcome, Run
from tidings.runs.context import Engine, RunContext
from tidings.runs.journal import Interrupted, Journal
from tidings.runs.port import Agent
from tidings.runs.work import At, Work

ATTEMPTS_MAX = 5
UNWIND_SECONDS = 0.5
"""How long a stopped agent may take to let go before its run is ended without it."""
START_PAUSE_SECONDS = 0.1
PROGRESS_SECONDS = 3.0
"""After so long without a word the worker says that the agent is still at it."""

STEPS_SHOWN_MAX = 8
ANSWER_BYTES_MAX = 8 * 1024 * 1024
"""As JSON, with the output: clients take messages of twice as much."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ending:
    """A run's terminal event in the making."""

    event: EventType
    status: str
    payload: dict[str, Any]
    report_id: str | None = None


class Execution:
    """Drives an agent from the journal's last step to the run's one terminal event."""

    def __init__(self, engine: Engine, journal: Journal) -> None:
        self._engine = engine
        self._journal = journal
        self._work = Work(tainted=bool(journal.run.request.files))
        self._stopping = asyncio.Event()
        self._reason = journal.run.cancel_reason
        self._pulses = 0
        self._begun = engine.clock.monotonic()
        self._context = RunContext(engine, journal, self._work, journal.run.agent)

    @property
    def run(self) -> Run:
        """The run."""
        return self._journal.run

    @property
    def parked(self) -> bool:
        """Whether this attempt ended because the run waits for a person."""
        return self._journal.parked

    @property
    def fenced(self) -> bool:
        """Whether this attempt ended because another worker has the run now."""
        return self._journal.fenced

    def stop(self, reason: CancelReason) -> None:
        """End the run as cancelled, from wherever it is."""
        self._reason = self._reason or reason
        self._stopping.set()

    async def drive(self, agent: Agent) -> None:
        """Go on where the journal ends; return when the run has ended.

        Raises:
            Interrupted: it could not be recorded here; perhaps in a group, with other errors.
        """
        await self._journal.load()
        if early := self._early_ending():
            await self.end(early)
            return
        async with asyncio.TaskGroup() as tasks:
            telling = tasks.create_task(self._tell())
            stopping = tasks.create_task(self._stopping.wait())
            working = tasks.create_task(self._outcome(agent))
            await asyncio.wait(
                {working, stopping},
                timeout=self._context.remaining_seconds(),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not working.done():
                working.cancel()
                await asyncio.wait({working}, timeout=UNWIND_SECONDS)
            telling.cancel()
            stopping.cancel()
            await self.end(self._ending(working))

    async def flush(self) -> None:
        """Record what waits.

        Raises:
            Interrupted: it could not be recorded here.
        """
        await self._journal.flush()

    async def end(self, ending: Ending) -> None:
        """Record the terminal event.

        Raises:
            Interrupted: it could not be recorded here.
        """
        if self._journal.interrupted.is_set():
            raise Interrupted
        self._context.ensure_started()
        payload = ending.payload | {"usage": self._usage(), "summary": self._summary()}
        terminal = self._journal.draft(ending.event, payload, self.run.agent)
        await self._journal.end(terminal, ending.status, ending.report_id, self._work.written)

    def _early_ending(self) -> Ending | None:
        """Return the end of a run that its agent shall not go on with."""
        if self.run.cancel_reason is not None:
            return self._cancelled()
        if self._context.remaining_seconds() == 0:
            return _out_of_time()
        if self.run.attempt - self.run.paused > ATTEMPTS_MAX:
            return failed("worker_lost", "The server stopped too often during this run.")
        return None

    async def _outcome(self, agent: Agent) -> Ending:
        try:
            ending = _completed(await _begun(agent, self._context), self._context.reasons)
        except TidingsError as error:
            ending = failed(error.code, error.message, retryable=error.retryable)
        except BudgetSpent as error:
            return self._over(error)
        if self._work.over is not None:
            return self._over(self._work.over)
        if ahead := self._context.ahead:
            _log.warning("run %s, agent %s: %s", self.run.run_id, self.run.agent, astray(ahead))
        return ending

    def _ending(self, working: asyncio.Task[Ending]) -> Ending:
        """Say how it ended: the agent's own end counts if it came to one."""
        if working.done() and not working.cancelled():
            return working.result()
        if self._stopping.is_set():
            return self._cancelled()
        return _out_of_time()

    def _over(self, error: BudgetSpent) -> Ending:
        """Return the end of a run that has used up a budget, whatever its agent makes of it."""
        return self._cancelled(CancelReason.BUDGET, limit=error.limit, message=error.message)

    def _cancelled(self, reason: CancelReason | None = None, **more: str) -> Ending:
        step = self._work.stopped_at(self._journal.steps_done) or self._journal.left_at()
        reason = reason or self._reason or CancelReason.USER
        payload = {"reason": reason, "step": step} | more
        return Ending(EventType.AGENT_CANCELLED, "cancelled", payload)

    async def _tell(self) -> None:
        """Commit what agents tell between their steps; pieces of text are gathered for a moment."""
        await wait_at_most(self._work.dirty, START_PAUSE_SECONDS)
        self._context.ensure_started()
        while True:
            await wait_at_most(self._work.dirty, PROGRESS_SECONDS)
            if not self._work.dirty.is_set():
                self._tell_progress()
            self._work.dirty.clear()
            await asyncio.sleep(self._journal.patience_seconds)
            await self._journal.flush()

    def _tell_progress(self) -> None:
        """Say, for an agent that says nothing, what it has been at and for how long."""
        self._pulses += 1
        now = self._engine.clock.monotonic()
        at = self._work.at or At(self.run.agent, "work", self._begun)
        elapsed = round(now - at.since, 1)
        payload = {
            "reasoning": f"Still at it: {at.step}, for {elapsed:.0f} s.",
            "progress": self._work.progress,
            "elapsed": elapsed,
        }
        # by the attempt: an agent that runs again numbers what it tells itself as before
        key = f"pulse.{self.run.attempt}.{self._pulses}"
        self._journal.tell(key, self._journal.draft(EventType.AGENT_THINKING, payload, at.agent))

    def _usage(self) -> dict[str, Any]:
        return {
            "model_requests": self._work.model_requests,
            "input_tokens": self._work.input_tokens,
            "output_tokens": self._work.output_tokens,
            "cost_usd": self._work.cost_usd,
        }

    def _summary(self) -> dict[str, Any]:
        return {
            "steps": self._journal.steps_done,
            "tools": self._work.calls,
            "attempts": self.run.attempt,
            "duration_ms": round((self._engine.clock.now() - self.run.created_at) * 1000),
        }


def _begun(agent: Agent, ctx: RunContext) -> Awaitable[Outcome]:
    """Begin an agent; whoever wrote it may check no types."""
    begun: Any = agent(ctx)
    if not isawaitable(begun):
        raise TypeError("an agent is an `async def agent(ctx)`, and this one is a plain function")
    return begun


def _completed(outcome: Any, reasons: Sequence[Notice]) -> Ending:
    """Return a run's good end; with a reason for it, it is degraded at best.

    Raises:
        Failure: `answer_too_large`.
        TypeError: that is no end of a run.
    """
    if not isinstance(outcome, Outcome):
        hint = "; an await is missing" if isawaitable(outcome) else ""
        raise TypeError(f"an agent returns an Outcome, not a {type(outcome).__name__}{hint}")
    answer: Any = outcome.answer
    if not isinstance(answer, str):
        told = type(answer).__name__
        raise TypeError(f"an Outcome's answer is text, not a {told}; a value is its output")
    if len(msgspec.json.encode((outcome.answer, outcome.output))) > ANSWER_BYTES_MAX:
        raise Failure(
            "answer_too_large",
            f"The answer is longer than the {ANSWER_BYTES_MAX >> 20} MiB that can be shown; ask"
            " for less.",
        )
    status = "degraded" if reasons and outcome.status == "completed" else outcome.status
    payload: dict[str, Any] = {
        "status": status,
        "answer": outcome.answer,
        "report_id": outcome.report_id,
        "quality": outcome.quality,
    }
    if outcome.output is not None:
        payload["output"] = outcome.output
    if reasons:
        payload["reasons"] = reasons
    return Ending(EventType.AGENT_COMPLETED, status, payload, outcome.report_id)


def failed(code: str, message: str, *, retryable: bool = False) -> Ending:
    """Return the end of a run that failed."""
    payload = {"code": code, "message": message, "retryable": retryable}
    return Ending(EventType.AGENT_FAILED, "failed", payload)


def astray(steps: Sequence[str]) -> str:
    """Say to an author that an agent which ran again did not come to these steps, and what to do.

    It shows STEPS_SHOWN_MAX of them.
    """
    more = ", ..." if len(steps) > STEPS_SHOWN_MAX else ""
    return (
        "the agent ran again and did not come to steps that it had done: "
        f"{', '.join(steps[:STEPS_SHOWN_MAX])}{more}; it may have done them twice, under other"
        " names. Names and order of steps must be the same each time: get what is random or of a"
        " clock by a ctx.step, whose own name is fixed."
    )


def _out_of_time() -> Ending:
    return failed("deadline_exceeded", "The run did not finish within its time.")


async def wait_at_most(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, but not longer."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
