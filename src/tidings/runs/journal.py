"""The journal of one run: steps done, events told; a step and its events commit together."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from tidings.domain.budgets import Budget, BudgetSpent, Spent
from tidings.domain.context import SERVER
from tidings.domain.errors import Unavailable
from tidings.domain.events import Draft, EventType, thread_stream
from tidings.domain.payloads import StoppedAt
from tidings.domain.permissions import Permission
from tidings.domain.ports import Clock, IdSource
from tidings.domain.runs import Run, RunState
from tidings.domain.times import rfc3339
from tidings.events import activity, log
from tidings.runs import conversation, pauses, permissions, queue, spending
from tidings.runs.conversation import Turn
from tidings.runs.loose_ends import loose_ends
from tidings.runs.outcomes import ModelAnswer
from tidings.runs.pauses import Pause, Settled
from tidings.runs.queue import Fenced
from tidings.runs.records import StepRecord, StepRow, read_steps, write_step
from tidings.runs.spending import NOTHING, DayEntry
from tidings.runs.written import Written, incomplete, partial_answer, pieces_of
from tidings.storage.warm.port import Database, Transaction

DELTA_PAUSE_SECONDS = 0.025
"""For so long pieces of an answer are gathered."""
ANSWER_PAUSE_SECONDS = 0.002
"""For so long a model's answer waits for what the agent does next, to be recorded with it."""

T = TypeVar("T")
HISTORY_STEP = "history"
_NONE = "[]"


class Interrupted(Exception):
    """The run cannot be recorded here any more: the store failed, or the lease is lost.

    Agents must let it pass. The run goes on from its journal, in another attempt.
    """


class Parked(Interrupted):
    """The run waits for a person and holds no worker. Agents must let it pass."""


class Pending(msgspec.Struct, frozen=True):
    """An event that waits for the next commit; pieces of an answer have no key."""

    key: str | None
    draft: Draft


class Posed(NamedTuple):
    """What a person is asked, and the event that asks."""

    pause: Pause
    draft: Draft


class Carried(NamedTuple):
    """What one commit carries: the events, the answers of models among the steps, and all steps.

    `emitted` is a list in JSON of the keys of the events.
    """

    pending: list[Pending]
    answered: list[StepRecord]
    steps: list[StepRecord]
    emitted: str

    @property
    def drafts(self) -> list[Draft]:
        """The events."""
        return [pending.draft for pending in self.pending]


class Journal:
    """What this run has done, in memory and in the warm tier.

    After a crash the agent runs again from the top: steps that were done are answered from
    here, and what was told is not told again. Once it is `interrupted` nothing can be recorded
    here any more. `ahead`: steps of earlier attempts that this one has not come to.
    """

    def __init__(self, database: Database, clock: Clock, ids: IdSource, run: Run) -> None:
        self.run = run
        self.steps_done = 0
        self.interrupted = asyncio.Event()
        self.fenced = False
        self.parked = False
        self.permissions: dict[str, Permission] = {}
        self._turn = asyncio.Lock()
        self._database = database
        self._clock = clock
        self._ids = ids
        self._results: dict[str, bytes | None] = {}
        self.ahead: dict[str, None] = {}
        self._told: set[str] = set()
        self._pending: list[Pending] = []
        self._answered: list[StepRecord] = []

    async def load(self) -> None:
        """Read what earlier attempts have recorded, and what the user lets tools do.

        It is the claim's second half, and so the server's: a first attempt needs one statement.
        """

        async def work(tx: Transaction) -> tuple[list[StepRow], dict[str, Permission]]:
            told = await permissions.told(tx, self.run.context)
            return await read_steps(tx, self.run.run_id) if self.run.attempt > 1 else [], told

        rows, self.permissions = await self._database.read(SERVER, work)
        for key, emitted, result in rows:
            self._told.update(msgspec.json.decode(emitted))
            if not key.startswith("~"):
                self._results[key] = result
                self.ahead[key] = None
                self.steps_done += result is not None

    async def earlier(self) -> tuple[Turn, ...]:
        """Return what was said in the thread before this run; a recorded step if anything was."""
        if self.is_done(HISTORY_STEP):
            return self.recorded(HISTORY_STEP, tuple[Turn, ...])
        turns = await self._database.read(
            self.run.context, lambda tx: conversation.earlier(tx, self.run)
        )
        if turns:
            self._answered.append(self._done(HISTORY_STEP, "history", turns))
        return turns

    def is_done(self, key: str) -> bool:
        """Return whether a step, which the agent has come to, has its result recorded."""
        self.ahead.pop(key, None)
        return self._results.get(key) is not None

    def is_begun(self, key: str) -> bool:
        """Return whether a step was begun and its end is not known."""
        return key in self._results and self._results[key] is None

    def left_at(self) -> StoppedAt | None:
        """Return the step that an earlier attempt had begun when it ended."""
        begun = [key for key, result in self._results.items() if result is None]
        return (
            StoppedAt(self.run.agent, begun[-1].partition(".")[0], self.steps_done)
            if begun
            else None
        )

    def recorded(self, key: str, type_: type[T]) -> T:
        """Return the result of a finished step.

        Raises:
            TypeError: it is not of this type.
        """
        try:
            return msgspec.json.decode(self._results[key] or b"null", type=type_)
        except (TypeError, msgspec.ValidationError) as error:
            raise TypeError(f"{key}: its result is not read as {type_!r}: {error}") from error

    def tell(self, key: str, draft: Draft) -> None:
        """Queue an event for the next commit, unless an earlier attempt has told it."""
        if key not in self._told:
            self._told.add(key)
            self._pending.append(Pending(key, draft))

    def tell_piece(self, draft: Draft) -> None:
        """Queue a piece of an answer, joined to the piece that waits before it."""
        last = self._pending[-1].draft if self._pending else None
        if last is not None and _continues(last, draft):
            payload = draft.payload | {"text": last.payload["text"] + draft.payload["text"]}
            self._pending[-1] = Pending(None, msgspec.structs.replace(last, payload=payload))
        else:
            self._pending.append(Pending(None, draft))

    @property
    def patience_seconds(self) -> float:
        """How long what waits to be committed may wait for more."""
        if self._answered:
            return ANSWER_PAUSE_SECONDS
        only_pieces = all(p.draft.type is EventType.ANSWER_DELTA for p in self._pending)
        return DELTA_PAUSE_SECONDS if only_pieces else 0.0

    def draft(self, type_: EventType, payload: dict[str, Any], agent: str) -> Draft:
        """Return a new event of this run, told by an agent."""
        run = self.run
        return Draft(self._ids.new("e"), type_, payload, agent, run.run_id, run.thread_id)

    async def begin(self, key: str, budget: Budget) -> None:
        """Record that a call is under way, with the events that say so, and count it.

        Raises:
            BudgetSpent: the user's day has no room for it; nothing was recorded.
        """
        await self._commit(StepRecord(key, "begun"), DayEntry({}, calls=1, budget=budget))
        self._results[key] = None

    async def reserve(self, key: str, wanted: Spent, budget: Budget) -> None:
        """Set aside what a request may take, and commit the waiting events.

        Raises:
            BudgetSpent: the user's day has no room for it.
        """
        await self._commit(None, DayEntry({}, wanted=(key, wanted), budget=budget))

    async def finish(self, key: str, kind: str, result: Any) -> None:
        """Record a step's result, with the events it caused.

        A model's answer waits for the next commit, with what it has taken. Nothing follows from it
        before: what the agent does next is in that commit or after it.
        """
        record = self._done(key, kind, result)
        if isinstance(result, ModelAnswer):
            usage = result.usage if result.reply is None else result.reply.usage
            self._answered.append(record._replace(usage=usage))
        else:
            await self._commit(record)

    def _done(self, key: str, kind: str, result: Any) -> StepRecord:
        """Take note in memory that a step has its result."""
        body = self._results[key] = msgspec.json.encode(result)
        self.steps_done += 1
        return StepRecord(key, kind, body)

    async def answers_to(self, questions: Sequence[Posed]) -> list[Settled]:
        """Return what a person has said to each; while anything is unsaid, let the run wait.

        All of it is asked at once. The events that ask get their `expires_at` here and, of several,
        how many ask `together`.

        Raises:
            Parked: it waits now.
        """
        if all(self.is_done(question.pause.step) for question in questions):
            return [self.recorded(question.pause.step, Settled) for question in questions]
        now, moved_id = self._clock.now(), self._ids.new("e")
        for question in questions:
            asking = _asking(question, self.run, len(questions), now)
            self.tell(f"{question.pause.step}.asked", asking)
        waits = [question.pause for question in questions]
        carried = self._take(*(StepRecord(pause.step, "waiting") for pause in waits))

        async def work(tx: Transaction) -> None:
            await tx.together(queue.held(tx, self.run), *self._recording(tx, carried, now))
            await pauses.begin(tx, self.run, waits, now)
            await activity.append(tx, self.run, carried.drafts, RunState.WAITING, moved_id, now=now)

        await self._write(work, parks=True)
        raise Parked

    async def flush(self) -> None:
        """Commit the waiting events on their own."""
        if self._pending or self._answered:
            await self._commit(None)

    async def end(
        self, terminal: Draft, status: str, report_id: str | None, written: Written
    ) -> None:
        """End the run, with its one terminal event.

        Raises:
            Interrupted: it was not recorded, here and now.
        """
        carried = self._take()
        now, moved_id = self._clock.now(), self._ids.new("e")
        answered = terminal.type is EventType.AGENT_COMPLETED

        async def work(tx: Transaction) -> None:
            proof, missing, pieces, *_ = await tx.together(
                log.proof_of(tx, self.run.run_id),
                loose_ends(tx, self.run, self._ids, carried.drafts),
                pieces_of(tx, self.run, carried.drafts, written, answered=answered),
                queue.end(tx, self.run, status, now, report_id),
                *self._recording(tx, carried, now),
            )
            told = [*carried.drafts, *missing, terminal]
            rooms = await activity.make_room(tx, self.run, told, moved_id)
            for offset, draft in rooms.thread.placed:
                proof = proof.with_event(offset, draft.event_id, draft.type.value)
            payload = terminal.payload | {"proof": proof}
            cut = incomplete(self.run, pieces, written, answered=answered)
            payload |= {"incomplete": cut} if cut else {}
            partial = None if answered else partial_answer(pieces)
            payload |= {"partial_answer": partial} if partial else {}
            *before, _ = rooms.thread.drafts
            proven = [*before, msgspec.structs.replace(terminal, payload=payload)]
            rooms = rooms._replace(thread=rooms.thread._replace(drafts=proven))
            await activity.fill(tx, self.run, rooms, RunState.ENDED, now=now)

        await self._write(work)

    async def _commit(self, record: StepRecord | None, entry: DayEntry = NOTHING) -> None:
        """Commit a step with all that waits, and what it takes of the user's day."""
        carried = self._take(*([] if record is None else [record]))
        now = self._clock.now()

        async def work(tx: Transaction) -> None:
            await tx.together(
                queue.held(tx, self.run),
                *self._recording(tx, carried, now, entry),
                self._append(tx, carried.drafts, now),
            )

        try:
            await self._write(work)
        except BudgetSpent:
            self._pending = carried.pending + self._pending
            self._answered = carried.answered + self._answered
            raise

    def _recording(
        self,
        tx: Transaction,
        carried: Carried,
        now: float,
        entry: DayEntry = NOTHING,
    ) -> Iterator[Coroutine[Any, Any, None]]:
        """Yield what writes the steps that are carried, and what is entered for the user's day."""
        settled = {step.key: step.usage for step in carried.answered if step.usage is not None}
        yield spending.enter(tx, self.run, entry._replace(settled=settled), now)
        emitted = carried.emitted
        for step in carried.steps:
            yield write_step(tx, self.run.run_id, step, emitted)
            emitted = _NONE

    async def _append(self, tx: Transaction, drafts: list[Draft], now: float) -> None:
        if drafts:
            stream = thread_stream(self.run.thread_id)
            await log.append(tx, self.run.context, stream, drafts, now)

    async def _write(
        self, work: Callable[[Transaction], Awaitable[None]], *, parks: bool = False
    ) -> None:
        """Write, and do so even if the caller is cancelled: what was taken must not be lost."""
        failure = await asyncio.shield(self._failure_to_write(work, parks=parks))
        if failure is not None:
            raise failure

    async def _failure_to_write(
        self, work: Callable[[Transaction], Awaitable[None]], *, parks: bool
    ) -> Interrupted | BudgetSpent | None:
        """Write after everything before it has been written; after a failure write nothing.

        What failed is returned: whoever has gone does not leave an error that nobody takes.
        """
        async with self._turn:
            if self.interrupted.is_set():
                return Interrupted()
            try:
                await self._database.write(self.run.context, work)
            except (Unavailable, Fenced) as error:
                self.interrupted.set()
                self.fenced = isinstance(error, Fenced)
                interrupted = Interrupted()
                interrupted.__cause__ = error
                return interrupted
            except BudgetSpent as error:
                return error
            if parks:
                self.parked = True
                self.interrupted.set()
        return None

    def _take(self, *records: StepRecord) -> Carried:
        """Take what waits; called in the same turn as the write that carries it."""
        pending, answered = self._pending, self._answered
        self._pending, self._answered = [], []
        emitted = _keys_of(pending)
        steps = [*answered, *records]
        if emitted != _NONE and not steps:
            steps = [StepRecord(f"~{self._ids.new('f')}", "told")]
        return Carried(pending, answered, steps, emitted)


def _keys_of(pending: list[Pending]) -> str:
    return msgspec.json.encode([p.key for p in pending if p.key]).decode()


def _asking(question: Posed, run: Run, count: int, now: float) -> Draft:
    """Return the event that asks, with when its time is up, and of several how many there are."""
    pause, draft = question
    more: dict[str, Any] = {"expires_at": rfc3339(pause.expires_at(run, now))}
    more |= {"together": count} if count > 1 else {}
    return msgspec.structs.replace(draft, payload=draft.payload | more)


def _continues(last: Draft, draft: Draft) -> bool:
    return (
        last.type is EventType.ANSWER_DELTA
        and last.agent == draft.agent
        and last.payload["message_id"] == draft.payload["message_id"]
    )
