"""Runs waiting for a worker, and the lease by which one worker at a time owns a run."""

from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from tidings.domain.context import UserContext
from tidings.domain.errors import Conflict, LimitExceeded
from tidings.domain.runs import CancelReason, Run, RunRequest, RunState
from tidings.events import outbox
from tidings.runs.turns import in_turn
from tidings.storage.notes import FleetNote
from tidings.storage.warm.objects import Kind, lock_owned
from tidings.storage.warm.port import Row, Transaction

RUNS_OPEN_PER_USER_MAX = 50
LEASE_SECONDS = 15.0
SHARED_LEASE_SECONDS = 3.0
"""Where other workers may take over: a dead one's runs go on within five seconds."""
_COLUMNS = (
    "run_id, tenant_id, user_id, session_id, thread_id, agent, request, created_at,"
    " deadline_at, fence, attempt, paused, waited_seconds, cancel_requested, cancel_reason"
)


class RunQueued(FleetNote, frozen=True):
    """A note for workers: there is something to claim."""

    run_id: str


class RunEnded(msgspec.Struct, frozen=True):
    """A note for whoever counts: a run has ended so, so long after its command."""

    status: str
    seconds: float


class RunLost(msgspec.Struct, frozen=True):
    """A note for whoever counts: a write was refused, for another worker has the run now."""

    run_id: str


class CancelRequested(FleetNote, frozen=True):
    """A note for the worker that has this run: stop it."""

    run_id: str
    reason: CancelReason


class Fenced(Conflict):
    """The lease is lost: another claim owns the run now, or it has ended. Write nothing more."""

    def __init__(self) -> None:
        super().__init__("fenced", "This run belongs to another worker now.")


@dataclass(frozen=True, slots=True)
class Limits:
    """How many runs are worked on at once, over all and for one user; how long one may take.

    A worker that does not renew its lease for `lease_seconds` has lost its runs.
    """

    runs: int = 16
    runs_per_user: int = 4
    run_seconds: float = 300.0
    lease_seconds: float = LEASE_SECONDS


async def working(tx: Transaction) -> int:
    """Return how many runs, of all users, have not ended and do not wait for a person."""
    ((count,),) = await tx.execute(
        "select count(*) from runs where state <> 'ended' and state <> 'waiting'"
    )
    return int(count)


class Ahead(NamedTuple):
    """The open runs of a user: those that do not wait for a person, those in a thread, and all."""

    working: int
    of_thread: int
    open: int

    def place(self, limits: Limits, over_all: int) -> int:
        """Return the place of a further run among those that must wait, 0 if it need not.

        `over_all` is what `working` has told: the user's own scope cannot see it. A thread has one
        run at a time, so that answers come in the order of the messages.

        Raises:
            LimitExceeded: `too_many_runs`: the user has RUNS_OPEN_PER_USER_MAX open runs.
        """
        if self.open >= RUNS_OPEN_PER_USER_MAX:
            raise LimitExceeded("too_many_runs", "Wait until some of your runs have ended.")
        of_user = self.working - limits.runs_per_user + 1
        return max(0, over_all - limits.runs + 1, of_user, self.of_thread)


async def ahead(tx: Transaction, context: UserContext, thread_id: str) -> Ahead:
    """Count the user's open runs; in the user's turn it stays true."""
    ((working_on, of_thread, every),) = await tx.execute(
        "select count(*) filter (where state <> 'waiting'),"
        " count(*) filter (where thread_id = ?), count(*)"
        " from runs where state <> 'ended' and user_id = ?",
        thread_id,
        context.user_id,
    )
    return Ahead(working_on, of_thread, every)


async def add(tx: Transaction, run: Run) -> None:
    """Queue a run, behind those of its thread also where their times are of a later moment.

    In the user's turn they are all there is. Clocks of two nodes differ by a little, and are set.
    """
    await tx.execute(
        "insert into runs (run_id, user_id, tenant_id, session_id, thread_id, agent, request,"
        " state, created_at, deadline_at, background)"
        " values (?, ?, ?, ?, ?, ?, ?, 'queued', coalesce((select max(created_at) + 0.001 from runs"
        "  where thread_id = ? and state <> 'ended' and created_at >= ?), ?), ?, ?)",
        run.run_id,
        run.context.user_id,
        run.context.tenant_id,
        run.context.session_id,
        run.thread_id,
        run.agent,
        msgspec.json.encode(run.request).decode(),
        run.thread_id,
        run.created_at,
        run.created_at,
        run.deadline_at,
        int(run.request.background),
    )
    tx.announce(RunQueued(run.run_id))


async def latest_files(tx: Transaction, context: UserContext, thread_id: str) -> tuple[str, ...]:
    """Return the files of the user's last run in a thread, as far as they still exist."""
    rows = await tx.execute(
        "select request from runs where thread_id = ? and user_id = ?"
        " order by created_at desc, run_id desc limit 1",
        thread_id,
        context.user_id,
    )
    files = msgspec.json.decode(rows[0][0], type=RunRequest).files if rows else ()
    if not files:
        return ()
    marks = ", ".join("?" * len(files))
    kept = await tx.execute(
        f"select file_id from files where file_id in ({marks}) and user_id = ?",  # noqa: S608
        *files,
        context.user_id,
    )
    return tuple(file_id for file_id in files if (file_id,) in kept)


async def anything(tx: Transaction, owner: str, now: float) -> bool:
    """Tell whether there is anything to claim or to end."""
    return bool(
        await tx.execute(
            "select 1 from runs where state = 'queued'"
            " or (state = 'running' and lease_until < ? and owner <> ?) limit 1",
            now,
            owner,
        )
    )


async def take_claims(tx: Transaction) -> None:
    """Wait until nobody else claims: what they take is seen, and counts, from here on."""
    await tx.turn("claims")


async def claim_overdue(tx: Transaction, owner: str, now: float, lease_until: float) -> list[Run]:
    """Take every run that nobody holds and that only needs its end: stopped, or out of time.

    A worker's own runs are held for as long as it lives, whatever its clock says of their leases.
    """
    rows = await tx.execute(
        "update runs set state = 'running', owner = ?, lease_until = ?,"  # noqa: S608 - a constant
        "  fence = fence + 1, attempt = attempt + 1"
        " where (state = 'queued' or (state = 'running' and lease_until < ? and owner <> ?))"
        "  and (cancel_requested = 1 or deadline_at <= ?)"
        f" returning {_COLUMNS}",
        owner,
        lease_until,
        now,
        owner,
        now,
    )
    return [_run(row) for row in rows]


_CLAIM = in_turn(
    held="(state = 'running' and (lease_until >= ? or owner = ?))"
    "  or (state in ('queued', 'running') and (cancel_requested = 1 or deadline_at <= ?))",
    free="state in ('queued', 'running')"
    "  and (state = 'queued' or (lease_until < ? and owner <> ?))",
    update="update runs set state = 'running', owner = ?, lease_until = ?,"
    "  fence = fence + 1, attempt = attempt + 1"
    " where (state = 'queued' or (state = 'running' and lease_until < ? and owner <> ?))",
    returning=_COLUMNS,
)


async def claim(
    tx: Transaction, owner: str, now: float, lease_until: float, *, free: int, limits: Limits
) -> list[Run]:
    """Take up to `free` runs that nobody holds, oldest first, those in the background last.

    One run at a time in a thread, in the order of its messages: one that waits keeps its place.
    `limits.runs_per_user` at once. What `claim_overdue` takes is left to it.
    """
    rows = await tx.execute(
        _CLAIM,
        now,
        owner,
        now,
        now,
        owner,
        owner,
        lease_until,
        now,
        owner,
        limits.runs_per_user,
        free,
    )
    return sorted((_run(row) for row in rows), key=lambda run: (run.created_at, run.run_id))


async def held(tx: Transaction, run: Run) -> None:
    """Check, inside a writing transaction, that the lease holds, and to its end.

    Raises:
        Fenced: it does not.
    """
    rows = await tx.lock(
        "select 1 from runs where run_id = ? and fence = ? and state = 'running'",
        run.run_id,
        run.fence,
    )
    if not rows:
        raise Fenced


async def renew(tx: Transaction, owner: str, lease_until: float) -> list[Run]:
    """Prolong all leases of a worker; return its runs, with whether they were asked to stop."""
    rows = await tx.execute(
        "update runs set lease_until = ? where owner = ? and state = 'running'"  # noqa: S608 - a constant
        f" returning {_COLUMNS}",
        lease_until,
        owner,
    )
    return [_run(row) for row in rows]


async def release(tx: Transaction, run: Run) -> None:
    """Give an unfinished run back, for the next worker to go on with at once."""
    await tx.execute(
        "update runs set state = 'queued', owner = null, lease_until = 0"
        " where run_id = ? and fence = ? and state = 'running'",
        run.run_id,
        run.fence,
    )
    tx.announce(RunQueued(run.run_id))


async def release_all(tx: Transaction) -> None:
    """Give back every run: for the start of the only process that works on this store."""
    await tx.execute(
        "update runs set state = 'queued', owner = null, lease_until = 0 where state = 'running'"
    )


async def end(
    tx: Transaction, run: Run, status: str, now: float, report_id: str | None = None
) -> None:
    """Mark a held run as ended.

    Raises:
        Fenced: the lease is lost, or the run has ended before.
    """
    ended = tx.execute(
        "update runs set state = 'ended', status = ?, ended_at = ?, report_id = ?, owner = null"
        " where run_id = ? and fence = ? and state = 'running' returning 1",
        status,
        now,
        report_id,
        run.run_id,
        run.fence,
    )
    rows, *_ = await tx.together(
        ended,
        tx.execute("delete from pauses where run_id = ?", run.run_id),
        tx.execute("delete from reservations where run_id = ?", run.run_id),
    )
    if not rows:
        raise Fenced
    tx.announce(RunEnded(status, now - run.created_at))


async def request_cancel(
    tx: Transaction, context: UserContext, run_id: str, reason: CancelReason
) -> RunState:
    """Ask for a run's end; return the state it is in.

    Raises:
        NotFound: the user has no such run.
    """
    (state,) = await lock_owned(tx, context, Kind.RUN, run_id, "state")
    if state != RunState.ENDED:
        await tx.execute("delete from pauses where run_id = ?", run_id)
        await outbox.forget_asking(tx, run_id)
        await tx.execute(
            "update runs set cancel_requested = 1, cancel_reason = coalesce(cancel_reason, ?),"
            "  state = case when state = 'waiting' then 'queued' else state end"
            " where run_id = ?",
            reason,
            run_id,
        )
        tx.announce(CancelRequested(run_id, reason))
    return RunState(state)


async def cut_off(tx: Transaction, context: UserContext) -> None:
    """End all open runs of a user without a word: whoever works on one is fenced off."""
    await tx.execute("delete from pauses where user_id = ?", context.user_id)
    await tx.execute(
        "update runs set state = 'ended', status = 'cancelled', fence = fence + 1, owner = null,"
        "  lease_until = 0 where user_id = ? and state <> 'ended'",
        context.user_id,
    )


async def open_runs(tx: Transaction, thread_id: str) -> list[str]:
    """Return the runs of a thread that have not ended, oldest first."""
    rows = await tx.execute(
        "select run_id from runs where thread_id = ? and state <> 'ended' order by run_id",
        thread_id,
    )
    return [run_id for (run_id,) in rows]


async def one(tx: Transaction, run_id: str) -> Run:
    """Return a run, whoever's it is."""
    rows = await tx.execute(f"select {_COLUMNS} from runs where run_id = ?", run_id)  # noqa: S608 - a constant
    return _run(rows[0])


def _run(row: Row) -> Run:
    run_id, tenant, user, session, thread, agent, request, *numbers = row
    created, deadline, fence, attempt, paused, waited, cancel, reason = numbers
    return Run(
        run_id=run_id,
        context=UserContext(tenant, user, session),
        thread_id=thread,
        agent=agent,
        request=msgspec.json.decode(request, type=RunRequest),
        created_at=created,
        deadline_at=deadline,
        fence=fence,
        attempt=attempt,
        paused=paused,
        waited_seconds=waited,
        cancel_reason=CancelReason(reason or CancelReason.USER) if cancel else None,
    )
