"""The journal of one run: steps done, events told; a step and its events commit together."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from tidings.domain.budgets import Budget, BudgetSpent, Spent
from tidings.domain.errors import Unavailable
from tidings.domain.events import Draft, EventType, thread_stream
from tidings.domain.payloads import StoppedAt
from tidings.domain.permissions import Permission
from tidings.domain.ports import Clock, IdSource
from tidings.domain.runs import Run, RunState
from tidings.events import activity, log
from tidings.events.log import rfc3339
from tidings.models.port import Usage
from tidings.runs import history, pauses, permissions, queue, spending
from tidings.runs.closing import loose_ends
from tidings.runs.history import Turn
from tidings.runs.outcomes import ModelAnswer
from tidings.runs.pauses import Pause, Settled
from tidings.runs.queue import Fenced
from tidings.runs.written import Written, incomplete, partial_answer
from tidings.storage.warm.port import Database, Transaction

T = TypeVar("T")
HISTORY_STEP = "history"
_Also = Callable[[Transaction, float], Awaitable[None]]
_StepRow = tuple[str, str, bytes | None]


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


class Journal:
    """What this run has done, in memory and in the warm tier.

    After a crash the agent runs again from the top: steps that were done are answered from
    here, and what was told is not told again.
    """

    def __init__(self, database: Database, clock: Clock, ids: IdSource, run: Run) -> None:
        self.run = run
        self.steps_done = 0
        self.interrupted = False
        self.fenced = False
        self.parked = False
        self.permissions: dict[str, Permission] = {}
        self._turn = asyncio.Lock()
        self._database = database
        self._clock = clock
        self._ids = ids
        self._results: dict[str, bytes | None] = {}
        self._told: set[str] = set()
        self._pending: list[Pending] = []

    async def load(self) -> None:
        """Read what earlier attempts have recorded."""

        async def work(tx: Transaction) -> tuple[list[_StepRow], dict[str, Permission]]:
            told = await permissions.told(tx, self.run.context)
            return await _read_steps(tx, self.run.run_id), told

        rows, self.permissions = await self._database.read(self.run.context, work)
        for key, emitted, result in rows:
            self._told.update(msgspec.json.decode(emitted))
            if not key.startswith("~"):
                self._results[key] = result
                self.steps_done += result is not None

    async def earlier(self) -> tuple[Turn, ...]:
        """Return what was said in the thread before this run; a recorded step if anything was."""
        if self.is_done(HISTORY_STEP):
            return self.recorded(HISTORY_STEP, tuple[Turn, ...])
        turns = await self._database.read(
            self.run.context, lambda tx: history.earlier(tx, self.run)
        )
        if turns:
            await self.finish(HISTORY_STEP, "history", turns)
        return turns

    def is_done(self, key: str) -> bool:
        """Return whether a step has its result recorded."""
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
        """Return the result of a finished step."""
        return msgspec.json.decode(self._results[key] or b"null", type=type_)

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
    def only_deltas_pending(self) -> bool:
        """Whether nothing but pieces of an answer waits to be committed."""
        return all(p.draft.type is EventType.ANSWER_DELTA for p in self._pending)

    def new_event_id(self) -> str:
        """Return an id for an event."""
        return self._ids.new("e")

    async def begin(self, key: str, budget: Budget) -> None:
        """Record that a call is under way, with the events that say so, and count it.

        Raises:
            BudgetSpent: the user's day has no room for it; nothing was recorded.
        """
        await self._commit(
            key, "begun", None, lambda tx, now: spending.count_call(tx, self.run, budget, now)
        )
        self._results[key] = None

    async def reserve(self, key: str, wanted: Spent, budget: Budget) -> None:
        """Set aside what a request may take, and commit the waiting events.

        Raises:
            BudgetSpent: the user's day has no room for it.
        """
        await self._commit(
            f"~{self._ids.new('f')}",
            "told",
            None,
            lambda tx, now: spending.reserve(tx, self.run, key, wanted, budget, now),
        )

    async def finish(self, key: str, kind: str, result: Any) -> None:
        """Record a step's result, with the events it caused."""
        body = msgspec.json.encode(result)
        self._results[key] = body
        self.steps_done += 1
        usage = _usage(result)
        if usage is None:
            await self._commit(key, kind, body)
        else:
            await self._commit(
                key, kind, body, lambda tx, now: spending.settle(tx, self.run, key, usage, now)
            )

    async def answer_to(self, pause: Pause, draft: Draft) -> Settled:
        """Return what a person has said; while nobody has, let the run wait.

        `draft` is the event that asks; it gets its `expires_at` here.

        Raises:
            Parked: it waits now.
        """
        if self.is_done(pause.step):
            return self.recorded(pause.step, Settled)
        now, moved_id = self._clock.now(), self.new_event_id()
        expires = {"expires_at": rfc3339(pause.expires_at(self.run, now))}
        asking = msgspec.structs.replace(draft, payload=draft.payload | expires)
        self.tell(f"{pause.step}.asked", asking)
        pending = self._take()
        emitted = _keys_of(pending)

        async def work(tx: Transaction) -> None:
            await queue.held(tx, self.run)
            await _write_step(tx, self.run.run_id, pause.step, "waiting", emitted, None)
            head = await self._append(tx, [p.draft for p in pending], now)
            await pauses.begin(tx, self.run, pause, now)
            await activity.tell(tx, self.run, RunState.WAITING, head, moved_id, now=now)

        await self._write(work)
        self.interrupted = self.parked = True
        raise Parked

    async def flush(self) -> None:
        """Commit the waiting events on their own."""
        if self._pending:
            await self._commit(f"~{self._ids.new('f')}", "told", None)

    async def end(
        self, terminal: Draft, status: str, report_id: str | None, written: Written
    ) -> None:
        """End the run, with its one terminal event.

        Raises:
            Interrupted: it was not recorded, here and now.
        """
        drafts = [pending.draft for pending in self._take()]
        now, moved_id = self._clock.now(), self.new_event_id()

        async def work(tx: Transaction) -> None:
            await queue.end(tx, self.run, status, now, report_id)
            await self._append(tx, drafts, now)
            await self._append(tx, await loose_ends(tx, self.run, self._ids), now)
            payload = terminal.payload | {"proof": await log.proof_of(tx, self.run.run_id)}
            answered = terminal.type is EventType.AGENT_COMPLETED
            cut = await incomplete(tx, self.run, written, answered=answered)
            payload |= {"incomplete": cut} if cut else {}
            partial = None if answered else await partial_answer(tx, self.run.run_id)
            payload |= {"partial_answer": partial} if partial else {}
            proven = msgspec.structs.replace(terminal, payload=payload)
            head = await self._append(tx, [proven], now)
            await activity.tell(tx, self.run, RunState.ENDED, head, moved_id, now=now)

        await self._write(work)

    async def _commit(
        self, key: str, kind: str, result: bytes | None, also: _Also | None = None
    ) -> None:
        """Commit a step with the waiting events and, in the same transaction, something else."""
        pending = self._take()
        emitted = _keys_of(pending)
        now = self._clock.now()

        async def work(tx: Transaction) -> None:
            await queue.held(tx, self.run)
            if kind != "told" or emitted != "[]":
                await _write_step(tx, self.run.run_id, key, kind, emitted, result)
            await self._append(tx, [p.draft for p in pending], now)
            if also is not None:
                await also(tx, now)

        try:
            await self._write(work)
        except BudgetSpent:
            self._pending = pending + self._pending
            raise

    async def _write(self, work: Callable[[Transaction], Awaitable[None]]) -> None:
        """Write, and do so even if the caller is cancelled: what was taken must not be lost."""
        failure = await asyncio.shield(self._failure_to_write(work))
        if failure is not None:
            raise failure

    async def _failure_to_write(
        self, work: Callable[[Transaction], Awaitable[None]]
    ) -> Interrupted | BudgetSpent | None:
        """Write after everything before it has been written; after a failure write nothing.

        What failed is returned: whoever has gone does not leave an error that nobody takes.
        """
        async with self._turn:
            if self.interrupted:
                return Interrupted()
            try:
                await self._database.write(self.run.context, work)
            except (Unavailable, Fenced) as error:
                self.interrupted = True
                self.fenced = isinstance(error, Fenced)
                interrupted = Interrupted()
                interrupted.__cause__ = error
                return interrupted
            except BudgetSpent as error:
                return error
        return None

    def _take(self) -> list[Pending]:
        """Take the waiting events; called in the same turn as the write that carries them."""
        pending, self._pending = self._pending, []
        return pending

    async def _append(self, tx: Transaction, drafts: list[Draft], now: float) -> int:
        """Append to the thread and return its head; 0 when there is nothing to append."""
        if not drafts:
            return 0
        stream = thread_stream(self.run.thread_id)
        return await log.append(tx, self.run.context, stream, drafts, now)


def _usage(result: Any) -> Usage | None:
    """Return what a model request has taken; None for other steps."""
    if isinstance(result, ModelAnswer):
        return result.usage if result.reply is None else result.reply.usage
    return None


def _keys_of(pending: list[Pending]) -> str:
    return msgspec.json.encode([p.key for p in pending if p.key]).decode()


def _continues(last: Draft, draft: Draft) -> bool:
    return (
        last.type is EventType.ANSWER_DELTA
        and last.agent == draft.agent
        and last.payload["message_id"] == draft.payload["message_id"]
    )


async def _read_steps(tx: Transaction, run_id: str) -> list[_StepRow]:
    rows = await tx.execute("select key, emitted, result from steps where run_id = ?", run_id)
    return [(key, emitted, result) for key, emitted, result in rows]


async def _write_step(
    tx: Transaction, run_id: str, key: str, kind: str, emitted: str, result: bytes | None
) -> None:
    """Insert a step, or finish one that was begun; what it had told stays told.

    `emitted` is a list in JSON: two of them become one by what is between their brackets.
    """
    await tx.execute(
        "insert into steps (run_id, key, kind, emitted, result) values (?, ?, ?, ?, ?)"
        " on conflict (run_id, key) do update set kind = excluded.kind, result = excluded.result,"
        " emitted = case when steps.emitted = '[]' then excluded.emitted"
        "  when excluded.emitted = '[]' then steps.emitted"
        "  else substr(steps.emitted, 1, length(steps.emitted) - 1) || ','"
        "   || substr(excluded.emitted, 2) end",
        run_id,
        key,
        kind,
        emitted,
        result,
    )
