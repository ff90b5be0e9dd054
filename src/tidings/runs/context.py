"""What an agent works with: everything it does here is recorded, told and resumable."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from tidings.domain.budgets import Plans
from tidings.domain.context import UserContext
from tidings.domain.errors import DeadlineExceeded, Failure, TidingsError
from tidings.domain.events import Draft, EventType
from tidings.domain.facts import Fact, ToolResult
from tidings.domain.payloads import Notice
from tidings.domain.ports import Clock
from tidings.domain.runs import Run, RunRequest
from tidings.domain.shapes import check_schema
from tidings.domain.times import rfc3339
from tidings.models.chains import Chains
from tidings.models.faults import ModelFault
from tidings.models.port import Model, ModelReply, ModelRequest, OnText, unseen
from tidings.runs.calls import Calls
from tidings.runs.conversation import Turn
from tidings.runs.journal import Journal, Posed
from tidings.runs.outcomes import Fault, ToolOutcome
from tidings.runs.pauses import WAIT_SECONDS_MAX, Pause, PauseKind
from tidings.runs.requests import Requests
from tidings.runs.rulings import ToolRequest
from tidings.runs.tries import Tries, check_not_in_a_call
from tidings.runs.work import Work
from tidings.tools.catalogue import Catalogue
from tidings.tools.port import Tool

T = TypeVar("T")

THOUGHT_CHARACTERS_MAX = 2_000
REASONS_MAX = 8
AGENTS_DEEP_MAX = 3


class Engine(msgspec.Struct, frozen=True):
    """The collaborators of every run; `chance` is drawn evenly from 0 to 1."""

    model: Model
    chains: Chains
    catalogue: Catalogue
    clock: Clock
    chance: Callable[[], float]
    plans: Plans = Plans()


class RunContext:
    """An agent's view of its run. Between calls to it an agent must be deterministic.

    After a crash the agent runs again from its first line; what was recorded is returned instead of
    done, what was told is not told again.
    """

    def __init__(
        self, engine: Engine, journal: Journal, work: Work, agent: str, scope: str = ""
    ) -> None:
        self.agent = agent
        self._engine = engine
        self._journal = journal
        self._work = work
        self._scope = scope
        self._steps = 0
        self._told = 0
        budget, clock, catalogue = engine.plans.budget(self.user), engine.clock, engine.catalogue
        tries = Tries(catalogue, clock, journal.run, work, engine.chance)
        self._calls = Calls(agent, catalogue, journal, work, budget, tries, self._draft)
        self._requests = Requests(clock, journal, work, budget)

    @property
    def run(self) -> Run:
        """The run."""
        return self._journal.run

    @property
    def user(self) -> UserContext:
        """The user the run works for."""
        return self.run.context

    @property
    def request(self) -> RunRequest:
        """What the user asked."""
        return self.run.request

    @property
    def facts(self) -> Mapping[str, Fact]:
        """All facts that tools have found in this run, by id."""
        return MappingProxyType(self._work.facts)

    @property
    def results(self) -> Mapping[str, ToolResult]:
        """The results of the run's successful tool calls, by call id, in order."""
        return MappingProxyType(self._work.results)

    async def history(self) -> tuple[Turn, ...]:
        """Return what was said in the thread before, oldest first: bounded, the newest kept.

        Recorded, for meanwhile it may be let go of. Earlier answers are content from outside, for
        they may repeat what stood in a file.
        """
        if self._work.history is None:
            self._work.history = await self._journal.earlier()
        self._work.tainted |= any(turn.answer for turn in self._work.history)
        return self._work.history

    @property
    def reasons(self) -> Sequence[Notice]:
        """Why the run is degraded, each reason once, REASONS_MAX at most; none: it is not."""
        return tuple(self._work.reasons)

    @property
    def ahead(self) -> tuple[str, ...]:
        """The steps on record that this attempt has not come to: in the end there must be none."""
        leave = re.compile(r"c\d+\.leave\.")  # goes with its call
        return tuple(key for key in self._journal.ahead if not leave.match(key))

    def remaining_seconds(self) -> float:
        """Return the time until the run's deadline, at least 0."""
        return self.run.remaining_seconds(self._engine.clock.now())

    async def plan(self, task_description: str, plan: list[str]) -> None:
        """Say what will be done: `agent_started`, the first event of the run's agent."""
        self._start(task_description, plan)

    def ensure_started(self) -> None:
        """Begin the run's story for an agent that did not: nothing comes before `agent_started`."""
        if not self._work.started:
            self._start(self.request.text[:THOUGHT_CHARACTERS_MAX], [])

    async def think(self, reasoning: str, progress: float) -> None:
        """Say what the agent considers; `progress` is the share of the run's work, 0..1."""
        self._work.progress = progress = round(min(1.0, max(0.0, progress)), 3)
        shown = reasoning[:THOUGHT_CHARACTERS_MAX]
        self._tell(EventType.AGENT_THINKING, reasoning=shown, progress=progress)

    async def notice(self, code: str, message: str, **details: Any) -> None:
        """Tell the user of something that is not as it should be, by code and sentence."""
        self._tell(EventType.NOTICE, code=code, message=message, **details)

    async def degrade(self, code: str, message: str, **details: Any) -> None:
        """Tell a notice for which the run ends as degraded at best; its end says so again."""
        await self.notice(code, message, **details)
        reasons, reason = self._work.reasons, Notice(code, message)
        if reason not in reasons and len(reasons) < REASONS_MAX:
            reasons.append(reason)

    async def delta(self, message_id: str, text: str) -> None:
        """Show a piece of the answer as it is written.

        An attempt after a crash writes a message of its own: the newest `message_id` counts.
        """
        self.ensure_started()
        message = f"{message_id}.{self.run.attempt}"
        payload = {"message_id": message, "text": text}
        self._journal.tell_piece(self._draft(EventType.ANSWER_DELTA, payload))
        self._work.written.now.add(message)
        self._work.dirty.set()

    async def model(
        self,
        request: ModelRequest,
        *,
        on_text: OnText | None = None,
        models: tuple[Model, ...] = (),
    ) -> ModelReply:
        """Ask the model; a recorded step, and so is its failure.

        With `models`, those are asked, by the same rules, in place of the server's.

        It may take the request's time, and half of the run's remaining time at most, so that there
        is time for something else when it does not answer. A reply of another model than the first
        is told by a notice `model_fallback`, and the run then ends as degraded at best. Text that
        `on_text` was given is not asked for again; without it a failed request may be.

        Raises:
            ModelFault: the model failed; `code` starts with `model_`, and `shown` is what `on_text`
                was given.
            Failure: `agent_looping`: it says what it said before, and so did the steps before it.
        """
        self._work.tainted |= any(tool.foreign for tool in request.tools)
        model = self._engine.chains.brought(models) if models else self._engine.model
        step = self._next_step("model")
        answer = await self._requests.ask(step, request, on_text or unseen, model)
        if answer.reply is None:
            fault = answer.error or Fault("model_failed", "The model failed.")
            failed = ModelFault(fault.code, fault.message, passing=fault.retryable)
            failed.usage, failed.shown = answer.usage, answer.partial
            raise failed
        await self._tell_fallbacks(answer.reply)
        if not answer.reply.calls and request.messages:
            self._calls.answered(request.messages[-1].text, answer.reply.text)
        return answer.reply

    async def tool(
        self, what: str | Tool, arguments: dict[str, Any], *, purpose: str, call_id: str = ""
    ) -> ToolOutcome:
        """Call a tool; a recorded step. A failing tool is an outcome, not an exception.

        A call that was under way when the process died is repeated if the tool's effect lets it,
        and otherwise ends as `outcome_unknown`. A call that needs the user's leave waits for it.
        `what` is a name in the catalogue, or a tool that the agent brings along. `call_id`: one of
        `call_ids`, for a framework that makes the calls of a reply by itself.

        Raises:
            Failure: `agent_looping`: this step and those before it brought nothing new.
        """
        request = ToolRequest(what, arguments, purpose)
        (outcome,) = await self._make([request], [call_id] if call_id else self.call_ids(1))
        return outcome

    async def tools(self, requests: Sequence[ToolRequest]) -> list[ToolOutcome]:
        """Make the calls of one reply side by side, a few at once; return their ends, in its order.

        Each is a recorded step with its own time, as with `tool`. What becomes of each is decided
        in the reply's order before any begins, by what the run has seen until now; none sees what
        the others give. One that needs leave waits until the others have ended.

        Raises:
            Failure: `agent_looping`, as above.
        """
        return await self._make(requests, self.call_ids(len(requests)))

    def call_ids(self, count: int) -> tuple[str, ...]:
        """Take the ids of the calls of a reply by their places in it, before any is made."""
        return self._calls.ids(count)

    async def ask(
        self,
        question: str,
        schema: dict[str, Any] | None = None,
        *,
        wait_seconds: float = WAIT_SECONDS_MAX,
    ) -> Any:
        """Ask the user something and return the answer; the run waits without a worker.

        `schema` is the shape of the answer, in the words of JSON Schema that `domain.shapes` knows;
        without one any JSON value will do. The time of waiting does not count as the run's.

        Raises:
            Failure: `input_expired`: nobody answered within `wait_seconds`.
            ValueError: the schema uses other words.
        """
        check_not_in_a_call()
        check_schema(schema or {})
        self._work.questions += 1
        self._enter("ask")
        self.ensure_started()
        request_id = f"q{self._work.questions}"
        shown = question[:THOUGHT_CHARACTERS_MAX]
        asked: dict[str, Any] = {"request_id": request_id, "question": shown}
        if schema is not None:
            asked["schema"] = schema
        pause = Pause(PauseKind.INPUT, request_id, request_id, asked, wait_seconds)
        draft = self._draft(EventType.INPUT_REQUIRED, asked)
        (settled,) = await self._journal.answers_to([Posed(pause, draft)])
        if settled.outcome == "expired":
            raise Failure("input_expired", "Nobody answered the question in time.")
        return settled.value

    async def step(self, name: str, work: Callable[[], Awaitable[T]], type_: type[T]) -> T:
        """Do something once and remember its result; `name` is unique within the agent.

        `type_` is the result's type, such as `str` or `list[int]`. What is returned is what was
        recorded, the first time too: what would not come back after a crash is seen at once.

        Raises:
            TypeError: the result is of another type, or of one that JSON does not know.
            ValueError: there was a step of this name.
        """
        check_not_in_a_call()
        key = f"{self._scope}step.{name}"
        with self._work.named_once(key):
            if not self._journal.is_done(key):
                await self._journal.finish(key, "step", await work())
            return self._journal.recorded(key, type_)

    @asynccontextmanager
    async def sub(
        self, agent: str, task: str, *, seconds: float | None = None
    ) -> AsyncIterator["SubContext"]:
        """Let another agent work: `subagent_started` ... `subagent_completed` around the block.

        Whoever leads goes on when it fails: with something else in its place, and a notice.

        Raises:
            Failure: `agents_too_deep`: it would be the fourth, one within the other.
            DeadlineExceeded: `agent_timeout`: it was not done in `seconds`, and is stopped.
        """
        if self._scope.count("/") >= AGENTS_DEEP_MAX:
            raise Failure(
                "agents_too_deep",
                f"Agents may let others work {AGENTS_DEEP_MAX} deep; do this without another.",
            )
        scope = f"{self._next_step(agent)}/"
        sub = SubContext(self._engine, self._journal, self._work, agent, scope)
        sub.start(task, parent=self.agent)
        try:
            async with _in_time(seconds):
                yield sub
        except TidingsError as error:
            sub.end(error.message, ok=False)
            raise
        sub.end("", ok=True)

    async def _make(self, requests: Sequence[ToolRequest], ids: Sequence[str]) -> list[ToolOutcome]:
        for request in requests:
            self._enter(request.what if isinstance(request.what, str) else request.what.name)
        self.ensure_started()
        return await self._calls.make(requests, ids)

    def _start(self, task_description: str, plan: list[str]) -> None:
        self._work.started = True
        payload = {
            "task_description": task_description,
            "plan": plan,
            "deadline_at": rfc3339(self.run.deadline_at),
        }
        self._journal.tell("started", self._draft(EventType.AGENT_STARTED, payload))
        self._work.dirty.set()

    def _enter(self, step: str) -> None:
        self._work.enter(self.agent, step, self._engine.clock.monotonic())

    def _next_step(self, kind: str) -> str:
        check_not_in_a_call()
        self._steps += 1
        self._enter(kind)
        return f"{self._scope}{self._steps}.{kind}"

    def _tell(self, event: EventType, **payload: Any) -> None:
        """Tell something by its turn: an agent that runs again tells the same in the same order."""
        self._told += 1
        self.ensure_started()
        self._journal.tell(f"{self._scope}e{self._told}", self._draft(event, payload))
        self._work.dirty.set()

    def _draft(self, event: EventType, payload: dict[str, Any]) -> Draft:
        return self._journal.draft(event, payload, self.agent)

    async def _tell_fallbacks(self, reply: ModelReply) -> None:
        """Tell, once for each pair, that a model answered in another one's place."""
        for fallback in reply.fallbacks:
            pair = (fallback.model, reply.model)
            if pair in self._work.fallbacks:
                continue
            self._work.fallbacks.add(pair)
            await self.degrade(
                "model_fallback",
                f"{fallback.message} {reply.model} answers in its place.",
                cause=fallback.code,
                model=reply.model,
                instead_of=fallback.model,
            )


@asynccontextmanager
async def _in_time(seconds: float | None) -> AsyncIterator[None]:
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise  # of the agent's own
        raise DeadlineExceeded("agent_timeout", "It did not finish in its time.") from error


class SubContext(RunContext):
    """The view of an agent that works for another."""

    _open = False

    def start(self, task: str, parent: str) -> None:
        """Tell that the agent begins."""
        self._open = True
        self._tell(EventType.SUBAGENT_STARTED, task_description=task, parent=parent)

    async def complete(self, summary: str, *, ok: bool = True) -> None:
        """Tell, in a sentence, what came of it."""
        self.end(summary, ok=ok)

    def end(self, summary: str, *, ok: bool) -> None:
        """Tell that the agent has ended, once."""
        if self._open:
            self._open = False
            self._tell(EventType.SUBAGENT_COMPLETED, summary=summary, ok=ok)
