"""What there is to do and what became of it, over all users: by it is decided what to take on."""

from dataclasses import dataclass

from tidings.resilience.wellness import Record
from tidings.storage.warm.port import Transaction


@dataclass(frozen=True, slots=True)
class Backlog:
    """The open runs: `queued`, `running`, `waiting` for a person.

    `ready` are those that only want for room: each was never begun, is at its turn in its thread,
    and its user has not as many under way as one may; `since` is when the first of them was asked
    for, None if there is none. `crowding` are the users who have as many open as would be worked on
    at once, or more. `ended` is how many ended in the time that was asked about.
    """

    queued: int = 0
    running: int = 0
    waiting: int = 0
    ended: int = 0
    ready: int = 0
    since: float | None = None
    crowding: frozenset[str] = frozenset()


async def backlog(tx: Transaction, runs_per_user: int, ended_from: float) -> Backlog:
    """Return what there is to do, and how many runs ended from a time on."""
    ((queued, running, waiting),) = await tx.execute(
        "select count(*) filter (where state = 'queued'),"
        " count(*) filter (where state = 'running'), count(*) filter (where state = 'waiting')"
        " from runs where state <> 'ended'"
    )
    ((ended,),) = await tx.execute(
        "select count(*) from runs where state = 'ended' and ended_at >= ?", ended_from
    )
    if not queued:
        return Backlog(0, running, waiting, ended)
    crowding = await tx.execute(
        "select user_id from runs where state in ('queued', 'running')"
        " group by user_id having count(*) >= ?",
        runs_per_user,
    )
    ready, since = await _ready(tx, runs_per_user)
    users = frozenset(user for (user,) in crowding)
    return Backlog(queued, running, waiting, ended, ready, since, users)


async def records(tx: Transaction, since: float) -> dict[str, Record]:
    """Return what became of the runs that ended from a time on, by agent; stopped ones say nothing.

    Failed is what ended `failed`: whose fault it was, its user got no answer.
    """
    rows = await tx.execute(
        "select agent, count(*), count(*) filter (where status = 'failed'),"
        " count(distinct case when status = 'failed' then user_id end),"
        " coalesce(max(case when status = 'failed' then ended_at end), 0)"
        " from runs where state = 'ended' and ended_at >= ? and status <> 'cancelled'"
        " group by agent",
        since,
    )
    return {agent: Record(*figures) for agent, *figures in rows}


async def _ready(tx: Transaction, runs_per_user: int) -> tuple[int, float | None]:
    """Return how many runs were never begun and only want for room, and when the first came."""
    ((count, since),) = await tx.execute(
        "with first as (select user_id, created_at, run_id, row_number() over"
        "   (partition by thread_id order by created_at, run_id) as turn"
        "  from runs where state = 'queued' and fence = 0 and thread_id not in"
        "   (select thread_id from runs where state in ('running', 'waiting'))),"
        " held as (select user_id, count(*) as runs from runs where state = 'running'"
        "  group by user_id),"
        " placed as (select first.created_at, coalesce(held.runs, 0) + row_number() over"
        "   (partition by first.user_id order by first.created_at, first.run_id) as place"
        "  from first left join held on held.user_id = first.user_id where turn = 1)"
        " select count(*), min(created_at) from placed where place <= ?",
        runs_per_user,
    )
    return count, since
