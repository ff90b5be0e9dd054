"""The one door for commands: authorise, deduplicate, record, queue; then, and only then, accept."""

import hashlib
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

from tidings.domain.commands import (
    AnswerInput,
    AnswerPayload,
    Approve,
    Ask,
    Command,
    IfBusy,
    Receipt,
    StopAgent,
    ask_of,
    canonical,
    check_answer,
    check_command_id,
)
from tidings.domain.context import SERVER, UserContext
from tidings.domain.errors import Conflict, NotFound, Unauthenticated
from tidings.domain.events import Draft, EventType, thread_stream
from tidings.domain.ports import Clock, IdSource
from tidings.domain.runs import CancelReason, Run, RunRequest, RunState
from tidings.events import activity
from tidings.router import threads
from tidings.router.intake import ChosenAgent, Intake
from tidings.runs import pauses, queue
from tidings.runs.pauses import Settled
from tidings.storage.warm.objects import Kind, fetch_owned, possible_id, take_turn
from tidings.storage.warm.port import Database, Transaction


class Router:
    """Turns a command into a record, a queued run and its first event, in one transaction."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: IdSource,
        intake: Intake,
        default_agent: str,
        limits: queue.Limits,
    ) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._intake = intake
        self._default_agent = default_agent
        self._limits = limits

    async def accept(self, context: UserContext, command: Command) -> Receipt:
        """Return the receipt once the command is durable; a repeat gets the first one's.

        Raises:
            InvalidInput: the command makes no sense; the message says why.
            NotFound: it names a thread, file or run that the user does not have.
            Conflict: `idempotency_conflict`: the id was used for another command; `thread_busy`:
                the thread has an open run and its messages do not queue; `not_waiting` or
                `arguments_changed`: the run does not wait for such an answer.
            LimitExceeded: too many open runs.
            Unavailable: `overloaded`: the server has too much to do; never for what ends work or
                lets it go on. `no_worker`: nobody is there to work, and others wait for too long.
        """
        self._intake.admit(context, command)
        check_command_id(command.id)
        digest = hashlib.sha256(msgspec.json.encode(canonical(command))).hexdigest()
        if isinstance(command, StopAgent):
            return await self._database.write(
                context, lambda tx: self._stop(tx, context, command, digest)
            )
        if isinstance(command, AnswerInput | Approve):
            return await self._settle(context, command, digest)
        ask = ask_of(command)
        wanted = ask.agent or self._default_agent
        choice = self._intake.choose(wanted)
        now = self._clock.now()
        asked = Run(
            run_id=self._ids.new("r"),
            context=context,
            thread_id=possible_id(ask.thread_id or self._ids.new("t")),
            agent=choice.agent,
            request=RunRequest(ask.text, ask.files, ask.background),
            created_at=now,
            deadline_at=now + self._limits.run_seconds,
        )
        over_all = await self._database.read(SERVER, queue.working)
        created_id, moved_id, *event_ids = (self._ids.new("e") for _ in range(5))
        notices, room = _notices(choice, wanted), self._intake.room
        limits = replace(self._limits, runs=room)

        async def work(tx: Transaction) -> Receipt:
            await take_turn(tx, context)
            known, thread, ahead = await tx.together(
                _known_receipt(tx, context, command.id, digest),
                _thread(tx, context, ask.thread_id),
                queue.ahead(tx, context, asked.thread_id),
            )
            if isinstance(known, Receipt):
                return known
            run = await _placed(tx, asked, ask, thread, created_id)
            if thread is not None and await _make_room(tx, run, ask.if_busy or thread.if_busy):
                ahead = await queue.ahead(tx, context, run.thread_id)
            place = ahead.place(limits, over_all)
            drafts = _first_events(run, event_ids, [*_wait(place, room), *notices])
            _, rooms = await tx.together(
                queue.add(tx, run), activity.make_room(tx, run, drafts, moved_id)
            )
            offset = rooms.thread.head - len(drafts) + 1
            receipt = Receipt(command.id, run.run_id, run.thread_id, offset)
            await tx.together(
                activity.fill(tx, run, rooms, RunState.QUEUED, now=now),
                _remember(tx, context, receipt, digest, now),
            )
            return receipt

        receipt = await self._database.write(context, work)
        self._intake.taken()
        return receipt

    async def _stop(
        self, tx: Transaction, context: UserContext, command: StopAgent, digest: str
    ) -> Receipt:
        await take_turn(tx, context)
        known = await _known_receipt(tx, context, command.id, digest)
        if known is not None:
            return known
        run_id = command.payload.run_id
        await queue.request_cancel(tx, context, run_id, CancelReason.USER)
        (thread_id,) = await fetch_owned(tx, context, Kind.RUN, run_id, "thread_id")
        (head,) = await fetch_owned(tx, context, Kind.STREAM, thread_stream(thread_id), "head")
        receipt = Receipt(command.id, run_id, thread_id, head)
        await _remember(tx, context, receipt, digest, self._clock.now())
        return receipt

    async def _settle(
        self, context: UserContext, command: AnswerInput | Approve, digest: str
    ) -> Receipt:
        if isinstance(command, AnswerInput):
            check_answer(command.payload.value)
        now, event_ids = self._clock.now(), (self._ids.new("e"), self._ids.new("e"))

        async def work(tx: Transaction) -> Receipt:
            await take_turn(tx, context)
            known = await _known_receipt(tx, context, command.id, digest)
            if known is not None:
                return known
            asked, settled = await _settlement(tx, context, command, now)
            run, head = await pauses.settle(tx, asked, settled, event_ids, now)
            receipt = Receipt(command.id, run.run_id, run.thread_id, head)
            await _remember(tx, context, receipt, digest, now)
            return receipt

        return await self._database.write(context, work)


async def _settlement(
    tx: Transaction, context: UserContext, command: AnswerInput | Approve, now: float
) -> tuple[pauses.Asked, Settled]:
    """Return what was asked, and what the user says to it."""
    said = command.payload
    if isinstance(said, AnswerPayload):
        return await pauses.answer(tx, context, said.run_id, said.request_id, said.value, now)
    asked = await pauses.approve(tx, context, said.run_id, said.call_id, said.arguments_hash, now)
    return asked, Settled("allowed" if said.decision == "allow" else "denied")


class _Thread(NamedTuple):
    """What its messages do that come while it is busy, and what the last one was about."""

    if_busy: IfBusy
    files: tuple[str, ...]


async def _thread(tx: Transaction, context: UserContext, thread_id: str | None) -> _Thread | None:
    """Return what is to be known of a thread; None: the user has no such thread."""
    if thread_id is None:
        return None
    try:
        (if_busy,), files = await tx.together(
            fetch_owned(tx, context, Kind.THREAD, thread_id, "if_busy"),
            queue.latest_files(tx, context, thread_id),
        )
    except NotFound:
        return None
    return _Thread(IfBusy(if_busy), files)


async def _placed(
    tx: Transaction, run: Run, ask: Ask, thread: _Thread | None, event_id: str
) -> Run:
    """Begin the thread if it is new; a question without files is about those asked of before."""
    await tx.together(*(fetch_owned(tx, run.context, Kind.FILE, id_, "1") for id_ in ask.files))
    if ask.thread_id is None:
        title = threads.title_of(ask.text)
        await threads.begin(tx, run.context, run.thread_id, title, event_id, now=run.created_at)
        return run
    if thread is None:
        raise NotFound
    request = msgspec.structs.replace(run.request, files=ask.files or thread.files)
    return msgspec.structs.replace(run, request=request)


async def _make_room(tx: Transaction, run: Run, if_busy: IfBusy) -> bool:
    """Do with the thread's open runs what its next message demands; tell whether there were any."""
    if if_busy is IfBusy.ENQUEUE:
        return False
    found = await queue.open_runs(tx, run.thread_id)
    for open_run in found:
        if if_busy is IfBusy.REJECT:
            raise Conflict("thread_busy", "A run in this thread has not ended: wait, or stop it.")
        await queue.request_cancel(tx, run.context, open_run, CancelReason.INTERRUPTED)
    return bool(found)


def _first_events(run: Run, event_ids: list[str], notices: list[dict[str, Any]]) -> list[Draft]:
    """Return what the user hears at once: the message is here, and what is to be known of it."""
    said = {"text": run.request.text, "files": run.request.files, "agent": run.agent}
    told = [(EventType.MESSAGE_RECEIVED, said), *((EventType.NOTICE, n) for n in notices)]
    return [
        Draft(event_id, type_, payload, run_id=run.run_id, thread_id=run.thread_id)
        for event_id, (type_, payload) in zip(event_ids, told, strict=False)
    ]


def _wait(place: int, room: int) -> list[dict[str, Any]]:
    """Return what the user is told of why the run does not begin at once."""
    if not room:
        message = "Nobody is there to work on this now; it begins when somebody is."
        return [{"code": "no_worker", "message": message, "place": place}]
    if not place:
        return []
    return [{"code": "queued", "message": "Other runs come first.", "place": place}]


def _notices(choice: ChosenAgent, wanted: str) -> list[dict[str, Any]]:
    """Return what the user is told of the choice of an agent."""
    if choice.notice == "agent_stands_in":
        message = f"{wanted} has failed often of late; {choice.agent} stands in for it."
        return [{"code": choice.notice, "message": message, "instead_of": wanted}]
    if choice.notice:
        message = f"{wanted} has failed often of late, and nobody stands in: this may fail too."
        return [{"code": choice.notice, "message": message}]
    return []


async def _known_receipt(
    tx: Transaction, context: UserContext, command_id: str, digest: str
) -> Receipt | None:
    """Return the receipt of a command that was here before, in the user's turn.

    Raises:
        Unauthenticated: `session_revoked`: the user was shut out, however late the command came.
    """
    ((body_hash, receipt, disabled),) = await tx.execute(
        "select c.body_hash, c.receipt, u.disabled from (select 1 as one) as here"
        " left join users u on u.user_id = ?"
        " left join commands c on c.user_id = ? and c.command_id = ?",
        context.user_id,
        context.user_id,
        command_id,
    )
    if disabled:
        raise Unauthenticated("session_revoked", "Your session has ended. Sign in again.")
    if body_hash is None:
        return None
    if body_hash != digest:
        raise Conflict("idempotency_conflict", "This id was used for another command.")
    return msgspec.structs.replace(msgspec.json.decode(receipt, type=Receipt), duplicate=True)


async def _remember(
    tx: Transaction, context: UserContext, receipt: Receipt, digest: str, now: float
) -> None:
    await tx.execute(
        "insert into commands (user_id, command_id, body_hash, receipt, created_at)"
        " values (?, ?, ?, ?, ?)",
        context.user_id,
        receipt.ref,
        digest,
        msgspec.json.encode(receipt).decode(),
        now,
    )
