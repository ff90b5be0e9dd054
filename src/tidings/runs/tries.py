"""One tool call, tried: within its time, again where that is harmless, not while the tool rests."""

import asyncio
import logging
from collections.abc import Callable
from contextvars import ContextVar
from types import MappingProxyType

import msgspec
from pydantic import BaseModel

from tidings.domain.errors import Failure, TidingsError
from tidings.domain.facts import ToolResult
from tidings.domain.ports import Clock
from tidings.domain.runs import Run
from tidings.resilience.breaker import Breaker, Passage
from tidings.resilience.retry import RETRY_POLICY, RetryBudget, Setback, decide
from tidings.runs.outcomes import Fault, ToolOutcome, kept
from tidings.runs.rulings import Call
from tidings.runs.work import Work
from tidings.tools.catalogue import Catalogue
from tidings.tools.port import Tool, ToolContext

TOOL_FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a tool's own code may raise; the call has failed, the run goes on."""

_UNHEARD_OF = (
    "A tool raised this, which ends the run. Catch it in the tool, and raise a Failure(code,"
    " message) of tidings.authoring instead: the agent is told it, and goes on."
)
_log = logging.getLogger(__name__)

_CALLING: ContextVar[bool] = ContextVar("_CALLING", default=False)
"""Whether a tool is at work in this task."""


def check_not_in_a_call() -> None:
    """Check that no tool is at work here: what it does is no step of its run.

    A call that is on record is not made again, so steps within it would be missing from the count.

    Raises:
        Failure: `step_within_call`.
    """
    if _CALLING.get():
        raise Failure("step_within_call", "A tool has no steps of its run; let the agent do this.")


class Tries:
    """Tries the calls of one run. `chance` is drawn evenly from 0 to 1."""

    def __init__(
        self, catalogue: Catalogue, clock: Clock, run: Run, work: Work, chance: Callable[[], float]
    ) -> None:
        self.clock = clock
        self._catalogue = catalogue
        self._run = run
        self._work = work
        self._chance = chance

    async def outcome(self, call: Call, tool: Tool, values: BaseModel) -> ToolOutcome:
        """Return how the call went; a tool that keeps failing this user rests a while."""
        begun = self.clock.monotonic()
        breaker = self._catalogue.breakers.of((self._run.context.user_id, call.tool))
        passage = breaker.admit(begun)
        if passage is Passage.REFUSED:
            resting = _resting(call.tool, breaker.wait_seconds(begun))
            return ToolOutcome(call.call_id, call.tool, ok=False, error=resting)
        learn: Learn = breaker.abandoned
        try:
            outcome = await self._in_time(call, tool, values)
            seconds = self.clock.monotonic() - begun
            learn = _lesson(breaker, outcome.error, cut_short=seconds < tool.deadline_seconds)
        finally:
            learn(self.clock.monotonic(), passage)
        return msgspec.structs.replace(outcome, duration_ms=round(seconds * 1000, 3))

    async def _in_time(self, call: Call, tool: Tool, values: BaseModel) -> ToolOutcome:
        """Try until it has a result, an end, or no time; all tries have the time of one call."""
        seconds = min(tool.deadline_seconds, self._run.remaining_seconds(self.clock.now()))
        until, tries = self.clock.monotonic() + seconds, 1
        budget = self._catalogue.retries.of(call.tool)
        budget.earn()
        try:
            async with asyncio.timeout(seconds):
                ended = await self._tried(call, tool, values)
                while (wait := self._wait(tool, ended, tries, until, budget)) is not None:
                    budget.spend()
                    await asyncio.sleep(wait)
                    tries += 1
                    ended = await self._tried(call, tool, values)
        except TimeoutError:
            ended = _Ended(error=_LATE)
        ok = ended.error is None
        return ToolOutcome(call.call_id, call.tool, ok, ended.result, ended.error, tries=tries)

    def _wait(
        self, tool: Tool, ended: "_Ended", tries: int, until: float, budget: RetryBudget
    ) -> float | None:
        """Return how long to wait before one more try; None if there shall be none."""
        if ended.error is None or not tool.effect.repeatable:
            return None
        left, passing = until - self.clock.monotonic(), ended.error.retryable
        setback = Setback(tries - 1, passing, ended.wanted, shown=False, remaining_seconds=left)
        chance = self._chance()
        return decide(RETRY_POLICY, setback, allowed=budget.allows, chance=chance)

    async def _tried(self, call: Call, tool: Tool, values: BaseModel) -> "_Ended":
        at_work = _CALLING.set(True)
        try:
            return _Ended(kept(await tool.call(self._context(call), values)))
        except TidingsError as error:
            fault = Fault(error.code, error.message, error.retryable)
            return _Ended(error=fault, wanted=error.retry_after_seconds)
        except TimeoutError:
            return _Ended(error=_LATE)
        except TOOL_FAULTS as error:
            _log.warning("run %s: the tool %s failed", self._run.run_id, call.tool, exc_info=True)
            return _Ended(error=Fault("tool_failed", f"The tool failed ({type(error).__name__})."))
        except Exception as error:
            error.add_note(_UNHEARD_OF)
            raise
        finally:
            _CALLING.reset(at_work)

    def _context(self, call: Call) -> ToolContext:
        return ToolContext(
            user=self._run.context,
            run_id=self._run.run_id,
            call_id=call.call_id,
            idempotency_key=f"{self._run.run_id}/{call.call_id}",
            files=self._run.request.files,
            facts=MappingProxyType(self._work.facts),
            results=MappingProxyType(self._work.results),
        )


class _Ended(msgspec.Struct, frozen=True):
    """How one try ended; `wanted`: the seconds that are asked for before the next."""

    result: ToolResult | None = None
    error: Fault | None = None
    wanted: float | None = None


Learn = Callable[[float, Passage], None]

_OWN_FAULTS = frozenset({"tool_failed", "tool_timeout", "tool_server_lost", "tool_server_fault"})
_LATE = Fault("tool_timeout", "The tool did not finish in its time.")


def _lesson(breaker: Breaker, fault: Fault | None, *, cut_short: bool) -> Learn:
    """Return what a call teaches: only what is the tool's own fault counts against it.

    That is what it raises, that it is unavailable, that it had its time and did not finish.
    """
    if fault is not None and fault.code == "tool_timeout" and cut_short:
        return breaker.abandoned
    if fault is not None and (fault.retryable or fault.code in _OWN_FAULTS):
        return breaker.failed
    return breaker.succeeded


def _resting(tool: str, seconds: float) -> Fault:
    message = f"{tool} failed too often; it is tried again in {max(1.0, seconds):.0f} s."
    return Fault("tool_resting", message, retryable=True)
