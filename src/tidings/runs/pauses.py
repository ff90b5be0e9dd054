"""Runs that wait for a person: they hold no worker, survive restarts, and go on by the answer."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec

from tidings.domain.context import UserContext
from tidings.domain.errors import Conflict, InvalidInput
from tidings.domain.events import Draft, EventType
from tidings.domain.runs import Run, RunState
from tidings.domain.shapes import misfit
from tidings.domain.times import rfc3339
from tidings.events import activity, outbox
from tidings.runs import queue
from tidings.runs.queue import RunQueued
from tidings.storage.warm.objects import Kind, lock_owned
from tidings.storage.warm.port import Transaction

WAIT_SECONDS_MAX = 7 * 24 * 3600
RUN_AGE_SECONDS_MAX = 30 * 24 * 3600
DUE_AT_ONCE_MAX = 100


class PauseKind(StrEnum):
    """What a run can wait for."""

    INPUT = "input"
    APPROVAL = "approval"


class Pause(msgspec.Struct, frozen=True):
    """What a run waits for. `step` is the journal's step that the answer completes.

    `asked` is the payload of the event that asked, without its `expires_at`.
    """

    kind: PauseKind
    request_id: str
    step: str
    asked: dict[str, Any]
    wait_seconds: float = WAIT_SECONDS_MAX

    def expires_at(self, run: Run, now: float) -> float:
        """Return when it ends without an answer; a run does not grow older than a month."""
        return min(
            now + min(self.wait_seconds, WAIT_SECONDS_MAX), run.created_at + RUN_AGE_SECONDS_MAX
        )


class Settled(msgspec.Struct, frozen=True):
    """What came of it: `answered` with a value, `allowed`, `denied` or `expired`."""

    outcome: str
    value: Any = None


class Asked(msgspec.Struct, frozen=True):
    """A pause as it is stored."""

    run_id: str
    request_id: str
    kind: PauseKind
    step: str
    asked: dict[str, Any]
    asked_at: float
    expires_at: float


_COLUMNS = "run_id, request_id, kind, step, asked, asked_at, expires_at"


async def begin(tx: Transaction, run: Run, pauses: Sequence[Pause], now: float) -> None:
    """Let a held run wait for all of it; one that was asked to stop goes on, to its end."""
    ((stopping,),) = await tx.execute(
        "update runs set owner = null, lease_until = 0, paused = paused + 1,"
        "  state = case when cancel_requested = 1 then 'queued' else 'waiting' end"
        " where run_id = ? returning cancel_requested",
        run.run_id,
    )
    if stopping:
        tx.announce(RunQueued(run.run_id))
        return
    await tx.execute_many(
        "insert into pauses (run_id, request_id, user_id, kind, step, asked, asked_at, expires_at)"
        " values (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                run.run_id,
                pause.request_id,
                run.context.user_id,
                pause.kind,
                pause.step,
                msgspec.json.encode(pause.asked).decode(),
                now,
                pause.expires_at(run, now),
            )
            for pause in pauses
        ],
    )


async def answer(
    tx: Transaction, context: UserContext, run_id: str, request_id: str, value: Any, now: float
) -> tuple[Asked, Settled]:
    """Return the question and its answer.

    Raises:
        NotFound: the user has no such run.
        Conflict: `not_waiting`: it was answered, has expired, or was never asked.
        InvalidInput: `answer_unfit`: it has not the shape that was asked for.
    """
    asked = await _find(tx, context, run_id, request_id, PauseKind.INPUT, now)
    wrong = misfit(asked.asked.get("schema") or {}, value)
    if wrong:
        raise InvalidInput("answer_unfit", wrong)
    return asked, Settled("answered", value)


async def approve(
    tx: Transaction, context: UserContext, run_id: str, call_id: str, call_hash: str, now: float
) -> Asked:
    """Return the call that leave is given for, or refused.

    Raises:
        NotFound: the user has no such run.
        Conflict: `not_waiting`, as above; `arguments_changed`: the hash is of another call.
    """
    asked = await _find(tx, context, run_id, call_id, PauseKind.APPROVAL, now)
    if asked.asked["arguments_hash"] != call_hash:
        raise Conflict("arguments_changed", "That is not the hash of this call; look at it again.")
    return asked


async def settle(
    tx: Transaction, asked: Asked, settled: Settled, event_ids: tuple[str, str], now: float
) -> tuple[Run, int]:
    """Record what came, and say so; return the run, and where the event stands.

    With the last of what it waits for it goes on. Its deadline moves by the time of waiting, for
    only work counts; that of several questions is the same, for they were asked at once.
    """
    waited = max(0.0, now - asked.asked_at)
    before = await queue.one(tx, asked.run_id)
    run = msgspec.structs.replace(
        before,
        deadline_at=before.deadline_at + waited,
        waited_seconds=before.waited_seconds + waited,
    )
    await tx.execute(
        "update steps set kind = ?, result = ? where run_id = ? and key = ?",
        asked.kind,
        msgspec.json.encode(settled),
        asked.run_id,
        asked.step,
    )
    await tx.execute(
        "delete from pauses where run_id = ? and request_id = ?", asked.run_id, asked.request_id
    )
    await outbox.forget_asking(tx, asked.run_id, asked.request_id)
    waits = await tx.execute("select 1 from pauses where run_id = ? limit 1", asked.run_id)
    if not waits:
        await tx.execute(
            "update runs set state = 'queued', deadline_at = ?, waited_seconds = ?"
            " where run_id = ? and state = 'waiting'",
            run.deadline_at,
            run.waited_seconds,
            run.run_id,
        )
        tx.announce(RunQueued(run.run_id))
    payload = {
        "request_id": asked.request_id,
        "outcome": settled.outcome,
        "deadline_at": rfc3339(run.deadline_at),
    }
    if settled.outcome == "answered":
        payload["value"] = settled.value
    told = Draft(
        event_ids[0],
        EventType.REQUEST_SETTLED,
        payload,
        run_id=run.run_id,
        thread_id=run.thread_id,
    )
    state = RunState.WAITING if waits else RunState.QUEUED
    head = await activity.append(tx, run, [told], state, event_ids[1], now=now)
    return run, head


async def due(tx: Transaction, now: float) -> list[Asked]:
    """Return what nobody has answered in its time, the oldest first."""
    rows = await tx.execute(
        f"select {_COLUMNS} from pauses where expires_at <= ? order by expires_at limit ?",  # noqa: S608
        now,
        DUE_AT_ONCE_MAX,
    )
    return [_asked(row) for row in rows]


async def expire(tx: Transaction, asked: Asked, event_ids: tuple[str, str], now: float) -> None:
    """End a wait without an answer, unless one has come."""
    await tx.lock("select 1 from runs where run_id = ?", asked.run_id)
    if await _rows(tx, asked.run_id, asked.request_id, asked.kind):
        await settle(tx, asked, Settled("expired"), event_ids, now)


async def _find(
    tx: Transaction,
    context: UserContext,
    run_id: str,
    request_id: str,
    kind: PauseKind,
    now: float,
) -> Asked:
    await lock_owned(tx, context, Kind.RUN, run_id, "1")
    found = await _rows(tx, run_id, request_id, kind)
    if not found or found[0].expires_at <= now:
        raise Conflict("not_waiting", "The run does not wait for this, or not any more.")
    return found[0]


async def _rows(tx: Transaction, run_id: str, request_id: str, kind: PauseKind) -> list[Asked]:
    rows = await tx.execute(
        f"select {_COLUMNS} from pauses where run_id = ? and request_id = ? and kind = ?",  # noqa: S608
        run_id,
        request_id,
        kind,
    )
    return [_asked(row) for row in rows]


def _asked(row: tuple[Any, ...]) -> Asked:
    run_id, request_id, kind, step, asked, asked_at, expires_at = row
    return Asked(
        run_id,
        request_id,
        PauseKind(kind),
        step,
        msgspec.json.decode(asked),
        asked_at,
        expires_at,
    )
