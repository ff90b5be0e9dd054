"""A tool call: with leave, within its time, recorded, told. A failing tool is an outcome."""

import asyncio
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import msgspec
from pydantic import BaseModel

from tidings.domain.budgets import Budget, BudgetSpent, Spent
from tidings.domain.errors import TidingsError
from tidings.domain.events import Draft, EventType
from tidings.domain.facts import ToolResult, all_facts
from tidings.domain.permissions import Permission, call_hash, decide, reason_to_ask
from tidings.domain.ports import Clock
from tidings.resilience.breaker import Breaker, Passage
from tidings.runs.journal import Journal
from tidings.runs.outcomes import Fault, ToolOutcome, kept, shown
from tidings.runs.pauses import Pause, PauseKind
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


class Call(msgspec.Struct, frozen=True):
    """What an agent wants done, by a tool of the catalogue or one that it brings along."""

    call_id: str
    what: str | Tool
    arguments: dict[str, Any]
    purpose: str

    @property
    def tool(self) -> str:
        """The name of the tool."""
        return self.what if isinstance(self.what, str) else self.what.name


class Calls:
    """Makes the tool calls of a run for one of its agents; `drafts` gives events their frame."""

    def __init__(
        self,
        catalogue: Catalogue,
        clock: Clock,
        journal: Journal,
        work: Work,
        budget: Budget,
        draft: Callable[[EventType, dict[str, Any]], Draft],
    ) -> None:
        self._catalogue = catalogue
        self._clock = clock
        self._journal = journal
        self._work = work
        self._budget = budget
        self._draft = draft

    async def make(self, call: Call) -> ToolOutcome:
        """Return how the call ended, from the journal if it did so before.

        Raises:
            Interrupted: it could not be recorded, or the run waits for leave to make it.
            BudgetSpent: there is no room for it.
        """
        if self._journal.is_done(call.call_id):
            outcome = self._journal.recorded(call.call_id, ToolOutcome)
        else:
            try:
                outcome = await self._outcome(call)
            except BudgetSpent as error:
                self._work.over = error
                raise
            self._tell(f"{call.call_id}.completed", EventType.TOOL_COMPLETED, shown(outcome))
            await self._journal.finish(call.call_id, "tool", outcome)
        self._work.tainted |= not self._catalogue.trusted(call.what)
        if outcome.result is not None:
            self._work.results[call.call_id] = outcome.result
            found = all_facts(call.tool, call.call_id, outcome.result)
            self._work.facts.update((fact.id, fact) for fact in found)
        return outcome

    async def _outcome(self, call: Call) -> ToolOutcome:
        said = {
            "call_id": call.call_id,
            "tool": call.tool,
            "purpose": call.purpose,
            "arguments": call.arguments,
        }
        self._tell(f"{call.call_id}.executing", EventType.TOOL_EXECUTING, said)
        begun = self._journal.is_begun(call.call_id)
        if begun and not self._catalogue.repeatable(call.what):
            return _refused(
                call, Fault("outcome_unknown", "It was under way when the server stopped.")
            )
        try:
            tool, values = self._catalogue.check(call.what, call.arguments)
        except TidingsError as error:
            return _refused(call, Fault(error.code, error.message, error.retryable))
        if not begun:
            if refusal := await self._refusal(call, tool):
                return _refused(call, refusal)
            self._work.check(self._budget, Spent())  # the call itself is counted already
            await self._journal.begin(call.call_id, self._budget)
        return await self._made(call, tool, values)

    async def _refusal(self, call: Call, tool: Tool) -> Fault | None:
        """Return why the call may not be made; wait for leave where it needs it."""
        arguments_hash = call_hash(call.tool, call.arguments)
        step = f"{call.call_id}.leave.{arguments_hash[:16]}"
        told = self._journal.permissions.get(call.tool)
        ruling = decide(tool.effect, told, tainted=self._work.tainted)
        if self._journal.is_done(step):
            ruling = Permission.ASK
        if ruling is Permission.DENY:
            return Fault("tool_denied", "You do not let this tool be used.")
        if ruling is Permission.ALLOW:
            return None
        asked = {
            "call_id": call.call_id,
            "tool": call.tool,
            "arguments": call.arguments,
            "arguments_hash": arguments_hash,
            "reason": reason_to_ask(told),
        }
        pause = Pause(PauseKind.APPROVAL, call.call_id, step, asked)
        draft = self._draft(EventType.APPROVAL_REQUIRED, asked)
        match (await self._journal.answer_to(pause, draft)).outcome:
            case "allowed":
                return None
            case "expired":
                return Fault("approval_expired", "Nobody gave leave for this call in time.")
            case _:
                return Fault("approval_denied", "Leave for this call was refused.")

    async def _made(self, call: Call, tool: Tool, values: BaseModel) -> ToolOutcome:
        """Return how the call went; a tool that keeps failing this user rests a while."""
        begun = self._clock.monotonic()
        breaker = self._catalogue.breakers.of((self._journal.run.context.user_id, call.tool))
        passage = breaker.admit(begun)
        if passage is Passage.REFUSED:
            return _refused(call, _resting(call.tool, breaker.wait_seconds(begun)))
        learn: Learn = breaker.abandoned
        try:
            result, fault = await self._tried(call, tool, values)
            seconds = self._clock.monotonic() - begun
            learn = _lesson(breaker, fault, cut_short=seconds < tool.deadline_seconds)
        finally:
            learn(self._clock.monotonic(), passage)
        took = round(seconds * 1000, 3)
        return ToolOutcome(call.call_id, call.tool, fault is None, result, fault, took)

    async def _tried(
        self, call: Call, tool: Tool, values: BaseModel
    ) -> tuple[ToolResult | None, Fault | None]:
        try:
            return await self._invoke(call, tool, values), None
        except TidingsError as error:
            return None, Fault(error.code, error.message, error.retryable)
        except TimeoutError:
            return None, Fault("tool_timeout", "The tool did not finish in its time.")
        except TOOL_FAULTS as error:
            return None, Fault("tool_failed", f"The tool failed ({type(error).__name__}).")

    async def _invoke(self, call: Call, tool: Tool, values: BaseModel) -> ToolResult:
        run, work = self._journal.run, self._work
        context = ToolContext(
            user=run.context,
            run_id=run.run_id,
            call_id=call.call_id,
            idempotency_key=f"{run.run_id}/{call.call_id}",
            files=run.request.files,
            facts=MappingProxyType(work.facts),
            results=MappingProxyType(work.results),
        )
        remaining = run.remaining_seconds(self._clock.now())
        async with asyncio.timeout(min(tool.deadline_seconds, remaining)):
            return kept(await tool.call(context, values))

    def _tell(self, key: str, event: EventType, payload: dict[str, Any]) -> None:
        self._journal.tell(key, self._draft(event, payload))
        self._work.dirty.set()


Learn = Callable[[float, Passage], None]


def _lesson(breaker: Breaker, fault: Fault | None, *, cut_short: bool) -> Learn:
    """Return what a call teaches: only what is the tool's own fault counts against it.

    That is what it raises, that it is unavailable, that it had its time and did not finish.
    """
    if fault is not None and fault.code == "tool_timeout" and cut_short:
        return breaker.abandoned
    if fault is not None and (fault.retryable or fault.code in _OWN_FAULTS):
        return breaker.failed
    return breaker.succeeded


_OWN_FAULTS = frozenset({"tool_failed", "tool_timeout", "tool_server_lost", "tool_server_fault"})


def _resting(tool: str, seconds: float) -> Fault:
    message = f"{tool} failed too often; it is tried again in {max(1.0, seconds):.0f} s."
    return Fault("tool_resting", message, retryable=True)


def _refused(call: Call, fault: Fault) -> ToolOutcome:
    return ToolOutcome(call.call_id, call.tool, ok=False, error=fault)
