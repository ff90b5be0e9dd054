"""What is deleted here and shall be elsewhere, threads and users: noted by who deletes it."""

from tidings.domain.context import UserContext
from tidings.storage.warm.port import Row, Transaction

ERASURES_PER_TURN_MAX = 200
ERASED_AGAIN_SECONDS = 3600.0
ROUNDS_MAX = 2
"""Once at once; and again when nothing that was on its way then can still be."""


async def note(tx: Transaction, context: UserContext, thread_id: str) -> None:
    """Take note of a user's thread in which a run has ended, before its runs are deleted."""
    await tx.execute(
        "insert into erasures (thread_id, user_id) select ?, ?"
        " where exists (select 1 from runs where thread_id = ? and state = 'ended')"
        " on conflict (thread_id) do nothing",
        thread_id,
        context.user_id,
        thread_id,
    )


async def note_user(tx: Transaction, user_id: str) -> None:
    """Take note that all of a user is to be erased: where a thread's id stands, the user's does."""
    await renew(tx, user_id, user_id)


async def renew(tx: Transaction, user_id: str, thread_id: str) -> None:
    """Have a deleted thread erased anew: something of it has come after its erasure."""
    await tx.execute(
        "insert into erasures (thread_id, user_id) values (?, ?)"
        " on conflict (thread_id) do update set due_at = 0, rounds = 0",
        thread_id,
        user_id,
    )


async def due(tx: Transaction, now: float) -> list[Row]:
    """Return users and their threads that are to be erased now; or users, by the same id twice."""
    return await tx.execute(
        "select user_id, thread_id from erasures where due_at <= ? order by due_at limit ?",
        now,
        ERASURES_PER_TURN_MAX,
    )


async def done(tx: Transaction, erased: list[Row], now: float) -> None:
    """Take note that they were erased, for the first time or the last."""
    await tx.execute_many(
        "update erasures set rounds = rounds + 1, due_at = ? where thread_id = ?",
        [(now + ERASED_AGAIN_SECONDS, thread_id) for _, thread_id in erased],
    )
    await tx.execute_many(
        "delete from erasures where thread_id = ? and rounds >= ?",
        [(thread_id, ROUNDS_MAX) for _, thread_id in erased],
    )
