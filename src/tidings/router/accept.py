"""The one door for commands: authorise, deduplicate, record, queue; then, and only then, accept."""

from dataclasses import dataclass, replace

from tidings.domain.commands import (
    AnswerInput,
    AnswerPayload,
    Approve,
    ApprovePayload,
    Ask,
    Command,
    Receipt,
    StopAgent,
    ask_of,
    check_answer,
    check_command_id,
)
from tidings.domain.context import SERVER, UserContext
from tidings.domain.events import thread_stream
from tidings.domain.ports import Clock, IdSource
from tidings.domain.runs import CancelReason, Run, RunRequest
from tidings.router.asking import EVENT_IDS, Asking, notices_of
from tidings.router.intake import Intake
from tidings.router.receipts import Action, CommandRecord, Done, Seen, once
from tidings.runs import pauses, queue
from tidings.runs.pauses import Settled
from tidings.storage.warm.objects import Kind, fetch_owned, possible_id
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
        now = self._clock.now()
        record = CommandRecord.of(context, command, now)
        if isinstance(command, StopAgent):
            return await self._once(record, Stopping(context, command.payload.run_id))
        if isinstance(command, AnswerInput | Approve):
            return await self._once(record, self._settling(context, command, now))
        receipt = await self._once(record, await self._asking(context, ask_of(command), now))
        self._intake.taken()
        return receipt

    async def _once(self, record: CommandRecord, action: Action[Seen]) -> Receipt:
        return await self._database.write(record.context, lambda tx: once(tx, record, action))

    def _settling(
        self, context: UserContext, command: AnswerInput | Approve, now: float
    ) -> "Settling":
        said = command.payload
        if isinstance(said, AnswerPayload):
            check_answer(said.value)
        return Settling(context, said, (self._ids.new("e"), self._ids.new("e")), now)

    async def _asking(self, context: UserContext, ask: Ask, now: float) -> Asking:
        wanted = ask.agent or self._default_agent
        choice = self._intake.choose(wanted)
        run = Run(
            run_id=self._ids.new("r"),
            context=context,
            thread_id=possible_id(ask.thread_id or self._ids.new("t")),
            agent=choice.agent,
            request=RunRequest(ask.text, ask.files, ask.background),
            created_at=now,
            deadline_at=now + self._limits.run_seconds,
        )
        return Asking(
            ask,
            run,
            notices_of(choice, wanted),
            over_all=await self._database.read(SERVER, queue.working),
            event_ids=tuple(self._ids.new("e") for _ in range(EVENT_IDS)),
            limits=replace(self._limits, runs=self._intake.room),
        )


@dataclass(frozen=True, slots=True)
class Stopping:
    """Ask for a run's end."""

    context: UserContext
    run_id: str

    async def look(self, tx: Transaction) -> None:
        """Read nothing."""

    async def act(self, tx: Transaction, _: None) -> Done:
        """Ask, and point at the head of the run's thread."""
        await queue.request_cancel(tx, self.context, self.run_id, CancelReason.USER)
        (thread_id,) = await fetch_owned(tx, self.context, Kind.RUN, self.run_id, "thread_id")
        stream = thread_stream(thread_id)
        (head,) = await fetch_owned(tx, self.context, Kind.STREAM, stream, "head")
        return Done(self.run_id, thread_id, head)


@dataclass(frozen=True, slots=True)
class Settling:
    """Let a run that waits go on, by what the user says to what it has asked."""

    context: UserContext
    said: AnswerPayload | ApprovePayload
    event_ids: tuple[str, str]
    now: float

    async def look(self, tx: Transaction) -> None:
        """Read nothing."""

    async def act(self, tx: Transaction, _: None) -> Done:
        """Find what was asked, and record what the user says to it."""
        asked, settled = await self._settlement(tx)
        run, head = await pauses.settle(tx, asked, settled, self.event_ids, self.now)
        return Done(run.run_id, run.thread_id, head)

    async def _settlement(self, tx: Transaction) -> tuple[pauses.Asked, Settled]:
        context, said, now = self.context, self.said, self.now
        if isinstance(said, AnswerPayload):
            return await pauses.answer(tx, context, said.run_id, said.request_id, said.value, now)
        leave = said.run_id, said.call_id, said.arguments_hash
        asked = await pauses.approve(tx, context, *leave, now)
        return asked, Settled("allowed" if said.decision == "allow" else "denied")
