"""The tool calls of a reply: decided in order, made side by side, recorded, told."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from tidings.domain.budgets import Budget, BudgetSpent, Spent
from tidings.domain.events import Draft, EventType
from tidings.domain.facts import all_facts
from tidings.domain.permissions import reason_to_ask
from tidings.runs.abreast import abreast
from tidings.runs.journal import Interrupted, Journal, Posed
from tidings.runs.outcomes import ToolOutcome, arguments_shown, shown
from tidings.runs.pauses import Pause, PauseKind
from tidings.runs.repetition import Repetition
from tidings.runs.rulings import Call, Ruling, Rulings, ToolRequest
from tidings.runs.tries import Tries, check_not_in_a_call
from tidings.runs.work import At, Work
from tidings.tools.catalogue import Catalogue

DraftOf = Callable[[EventType, dict[str, Any]], Draft]
"""Gives an event its frame."""


class Calls:
    """Makes the tool calls of one agent of a run."""

    def __init__(
        self,
        agent: str,
        catalogue: Catalogue,
        journal: Journal,
        work: Work,
        budget: Budget,
        tries: Tries,
        draft: DraftOf,
    ) -> None:
        self._agent = agent
        self._catalogue = catalogue
        self._journal = journal
        self._work = work
        self._budget = budget
        self._tries = tries
        self._draft = draft
        self._asking: list[Call] = []
        self._repetition = Repetition()
        self._rulings = Rulings(catalogue, journal, work, self._repetition)

    def ids(self, count: int) -> tuple[str, ...]:
        """Take the ids of so many calls: by their places among the calls of the run.

        Raises:
            Failure: `step_within_call`: a tool of the run is asking.
        """
        check_not_in_a_call()
        first = self._work.calls + 1
        self._work.calls += count
        return tuple(f"c{number}" for number in range(first, first + count))

    async def make(self, requests: Sequence[ToolRequest], ids: Sequence[str]) -> list[ToolOutcome]:
        """Return how the calls of one reply ended, in its order; from the journal what did before.

        What becomes of each is decided in that order, by what was known when the reply came, and
        before any begins. Then they are made side by side. When they have ended, those that need
        leave are asked about, all together.

        Raises:
            Interrupted: it could not be recorded, or the run waits for leave to make one.
            BudgetSpent: there is no room for one of them.
            Failure: `agent_looping`: nothing new came of this and the steps before.
        """
        calls = [Call.of(id_, request) for id_, request in zip(ids, requests, strict=True)]
        rulings = self._rulings.decide(calls)
        try:
            if any(ruling.begins for ruling in rulings):
                self._work.check(self._budget, Spent())  # the calls are counted already
            outcomes = await self._ended(rulings)
        except BudgetSpent as error:
            self._work.over = error
            raise
        for call, outcome in zip(calls, outcomes, strict=True):
            self._keep(call, outcome)
        self._repetition.check()
        return outcomes

    def answered(self, question: str, answer: str) -> None:
        """Take note of what a model said without a call.

        Raises:
            Failure: `agent_looping`: nothing new came of this and the steps before.
        """
        self._repetition.answered(question, answer)
        self._repetition.check()

    async def _ended(self, rulings: Sequence[Ruling]) -> list[ToolOutcome]:
        """Return how they ended; a wait for leave begins when nothing else is under way."""
        free = [ruling for ruling in rulings if not ruling.asks]
        ended = await abreast([self._end_of(ruling) for ruling in free])
        if len(free) < len(rulings):
            await self._ask([ruling.call for ruling in rulings if ruling.asks])
        return ended

    async def _ask(self, calls: Sequence[Call]) -> None:
        """Let the run wait until a person has said what becomes of each: it does not come back.

        One that a framework makes by itself is asked about with those it makes beside it.
        """
        self._asking.extend(calls)
        await asyncio.sleep(0)  # those beside it begin or ask now
        await self._work.quiet.wait()
        together, self._asking = self._asking, []
        if not together:
            await self._journal.interrupted.wait()  # another has asked about this one too
            raise Interrupted
        for call in together:
            self._tell_begin(call)
        await self._journal.answers_to([self._question(call) for call in together])

    def _question(self, call: Call) -> Posed:
        asked = {
            "call_id": call.call_id,
            "tool": call.tool,
            "arguments": call.arguments,
            "arguments_hash": call.hash,
            "reason": reason_to_ask(self._journal.permissions.get(call.tool)),
        }
        pause = Pause(PauseKind.APPROVAL, call.call_id, call.leave_step, asked)
        return Posed(pause, self._draft(EventType.APPROVAL_REQUIRED, asked))

    async def _end_of(self, ruling: Ruling) -> ToolOutcome:
        call = ruling.call
        if self._journal.is_done(call.call_id):
            return self._journal.recorded(call.call_id, ToolOutcome)
        async with self._work.room:
            at = At(self._agent, call.tool, self._tries.clock.monotonic())
            with self._work.during(call.call_id, at):
                self._tell_begin(call)
                outcome = await self._outcome(ruling)
                self._tell(
                    f"{call.call_id}.completed",
                    EventType.TOOL_COMPLETED,
                    shown(outcome, self._journal.run.run_id),
                )
                await self._journal.finish(call.call_id, "tool", outcome)
        return outcome

    async def _outcome(self, ruling: Ruling) -> ToolOutcome:
        call = ruling.call
        if ruling.made is None:
            return ToolOutcome(call.call_id, call.tool, ok=False, error=ruling.refused)
        if not self._journal.is_begun(call.call_id):
            await self._journal.begin(call.call_id, self._budget)
        return await self._tries.outcome(call, *ruling.made)

    def _keep(self, call: Call, outcome: ToolOutcome) -> None:
        """Let the run know what a call gave."""
        self._repetition.called(call.hash, outcome)
        self._work.tainted |= not self._catalogue.trusted(call.what)
        if outcome.result is not None:
            self._work.results[call.call_id] = outcome.result
            found = all_facts(call.tool, call.call_id, outcome.result)
            self._work.facts.update((fact.id, fact) for fact in found)

    def _tell_begin(self, call: Call) -> None:
        said = {
            "call_id": call.call_id,
            "tool": call.tool,
            "purpose": call.purpose,
            "arguments": arguments_shown(call.arguments),
        }
        self._tell(f"{call.call_id}.executing", EventType.TOOL_EXECUTING, said)

    def _tell(self, key: str, event: EventType, payload: dict[str, Any]) -> None:
        self._journal.tell(key, self._draft(event, payload))
        self._work.dirty.set()
