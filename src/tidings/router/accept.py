"""The one door for commands: authorise, deduplicate, record, queue; then, and only then, accept."""

import hashlib
from collections.abc import Mapping

import msgspec

from tidings.domain.commands import (
    Ask,
    Command,
    Receipt,
    StopAgent,
    ask_of,
    canonical,
    check_command_id,
)
from tidings.domain.context import UserContext
from tidings.domain.errors import Conflict
from tidings.domain.events import Draft, EventType, thread_stream
from tidings.domain.ports import Clock, IdSource
from tidings.domain.runs import Run, RunRequest, RunState
from tidings.events import activity, log
from tidings.router import threads
from tidings.runs import queue
from tidings.storage.warm.objects import Kind, fetch_owned
from tidings.storage.warm.port import Database, Transaction


class Router:
    """Turns a command into a record, a queued run and its first event, in one transaction."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: IdSource,
        agents: Mapping[str, object],
        default_agent: str,
        limits: queue.Limits,
    ) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._agents = agents
        self._default_agent = default_agent
        self._limits = limits

    async def accept(self, context: UserContext, command: Command) -> Receipt:
        """Return the receipt once the command is durable; a repeat gets the first one's.

        Raises:
            InvalidInput: the command makes no sense; the message says why.
            NotFound: it names a thread, file or run that the user does not have.
            Conflict: `idempotency_conflict`: the id was used for another command.
            LimitExceeded: too many open runs.
        """
        check_command_id(command.id)
        digest = hashlib.sha256(msgspec.json.encode(canonical(command))).hexdigest()
        if isinstance(command, StopAgent):
            return await self._database.write(lambda tx: self._stop(tx, context, command, digest))
        ask = ask_of(command)
        agent = ask.agent or self._default_agent
        self._agents[agent]  # raises, naming the known ones, when there is none
        now = self._clock.now()
        asked = Run(
            run_id=self._ids.new("r"),
            context=context,
            thread_id=ask.thread_id or self._ids.new("t"),
            agent=agent,
            request=RunRequest(ask.text, ask.files),
            created_at=now,
            deadline_at=now + self._limits.run_seconds,
        )
        created_id, moved_id, *event_ids = (self._ids.new("e") for _ in range(4))

        async def work(tx: Transaction) -> Receipt:
            known = await _known_receipt(tx, context, command.id, digest)
            if known is not None:
                return known
            run = await self._placed(tx, asked, ask, created_id)
            place = await queue.add(tx, run, self._limits)
            drafts = _first_events(run, event_ids, place)
            head = await log.append(tx, context, thread_stream(run.thread_id), drafts, now)
            await activity.tell(tx, run, RunState.QUEUED, head, moved_id, now=now)
            offset = head - len(drafts) + 1
            receipt = Receipt(command.id, run.run_id, run.thread_id, offset)
            await _remember(tx, context, receipt, digest, now)
            return receipt

        return await self._database.write(work)

    async def _placed(self, tx: Transaction, run: Run, ask: Ask, event_id: str) -> Run:
        """Find the thread or begin it; a question without files is about those asked of before."""
        for file_id in ask.files:
            await fetch_owned(tx, run.context, Kind.FILE, file_id, "1")
        if ask.thread_id is None:
            title = threads.title_of(ask.text)
            await threads.begin(tx, run.context, run.thread_id, title, event_id, now=run.created_at)
            return run
        await fetch_owned(tx, run.context, Kind.THREAD, ask.thread_id, "1")
        files = ask.files or await queue.latest_files(tx, run.context, ask.thread_id)
        return msgspec.structs.replace(run, request=RunRequest(ask.text, files))

    async def _stop(
        self, tx: Transaction, context: UserContext, command: StopAgent, digest: str
    ) -> Receipt:
        known = await _known_receipt(tx, context, command.id, digest)
        if known is not None:
            return known
        run_id = command.payload.run_id
        await queue.request_cancel(tx, context, run_id)
        (thread_id,) = await fetch_owned(tx, context, Kind.RUN, run_id, "thread_id")
        (head,) = await fetch_owned(tx, context, Kind.STREAM, thread_stream(thread_id), "head")
        receipt = Receipt(command.id, run_id, thread_id, head)
        await _remember(tx, context, receipt, digest, self._clock.now())
        return receipt


def _first_events(run: Run, event_ids: list[str], place: int) -> list[Draft]:
    """Return what the user hears at once: the message is here, and perhaps that it must wait."""
    said = {"text": run.request.text, "files": run.request.files, "agent": run.agent}
    wait = {"code": "queued", "message": "Other runs come first.", "place": place}
    told = [(EventType.MESSAGE_RECEIVED, said)] + ([(EventType.NOTICE, wait)] if place else [])
    return [
        Draft(event_id, type_, payload, run_id=run.run_id, thread_id=run.thread_id)
        for event_id, (type_, payload) in zip(event_ids, told, strict=False)
    ]


async def _known_receipt(
    tx: Transaction, context: UserContext, command_id: str, digest: str
) -> Receipt | None:
    rows = await tx.execute(
        "select body_hash, receipt from commands where user_id = ? and command_id = ?",
        context.user_id,
        command_id,
    )
    if not rows:
        return None
    body_hash, receipt = rows[0]
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
