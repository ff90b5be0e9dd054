"""Runs that have ended and are not in the cold tier yet, and the note that they are."""

from collections.abc import Set
from typing import NamedTuple

from tidings.events import erasures
from tidings.storage.warm.port import Transaction


class EndedRun(NamedTuple):
    """What the warm tier knows of a run that has ended; times in seconds since 1970."""

    run_id: str
    tenant_id: str
    user_id: str
    thread_id: str
    agent: str
    status: str
    created_at: float
    ended_at: float
    waited_seconds: float
    attempts: int


class Unexported(NamedTuple):
    """How many ended runs are not exported, and when the oldest of them ended."""

    runs: int = 0
    oldest: float | None = None


async def backlog(tx: Transaction) -> Unexported:
    """Return what waits."""
    ((runs, oldest),) = await tx.execute(
        "select count(*), min(ended_at) from runs where state = 'ended' and exported_at is null"
    )
    return Unexported(runs, oldest)


async def due(tx: Transaction, ended_before: float, limit: int) -> list[EndedRun]:
    """Return runs that wait, whose end is so old, oldest first."""
    rows = await tx.execute(
        "select run_id, tenant_id, user_id, thread_id, agent, status, created_at, ended_at,"
        " waited_seconds, attempt - paused from runs"
        " where state = 'ended' and exported_at is null and ended_at <= ?"
        " order by ended_at limit ?",
        ended_before,
        limit,
    )
    return [EndedRun(*row) for row in rows]


async def known(tx: Transaction, run_ids: Set[str | None]) -> set[str | None]:
    """Return those of some runs that are in the cold tier."""
    if not run_ids:
        return set()
    marks = ", ".join("?" * len(run_ids))
    rows = await tx.execute(
        f"select run_id from runs where run_id in ({marks}) and exported_at is not null",  # noqa: S608
        *run_ids,
    )
    return {run_id for (run_id,) in rows}


async def exported(tx: Transaction, runs: list[EndedRun], now: float) -> None:
    """Take note that runs are in the cold tier; one that was deleted meanwhile shall leave it."""
    marks = ", ".join("?" * len(runs))
    rows = await tx.execute(
        f"update runs set exported_at = ? where run_id in ({marks}) returning run_id",  # noqa: S608
        now,
        *(run.run_id for run in runs),
    )
    there = {run_id for (run_id,) in rows}
    for run in runs:
        if run.run_id not in there:
            await erasures.renew(tx, run.user_id, run.thread_id)
