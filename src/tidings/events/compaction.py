"""Compaction: pieces of answers of ended runs are joined where they are stored.

The last row of a range gets the joined frame and the number of rows before it that it stands for.
Those keep their offset and id, for the check of cursors, and lose their frame.
"""

import msgspec

from tidings.domain.context import SERVER
from tidings.events.ranges import Entry, joined
from tidings.storage.warm.port import Database, Transaction

PIECES_PER_BATCH_MAX = 500
RUNS_PER_PASS_MAX = 200


class Compacted(msgspec.Struct, frozen=True):
    """A note for whoever counts: so many rows have lost their frame to a joined one."""

    rows: int


async def compact(database: Database, ended_before: float, now: float) -> int:
    """Join the pieces of runs that ended before a time; return how many runs were looked at.

    At most RUNS_PER_PASS_MAX, oldest first; each transaction reads or writes PIECES_PER_BATCH_MAX
    rows at most. Repeating it, also after a crash in the middle, changes nothing.
    """
    runs = await database.read(SERVER, lambda tx: _due(tx, ended_before))
    for run_id in runs:
        await _compact_run(database, run_id, now)
    return len(runs)


async def _due(tx: Transaction, ended_before: float) -> list[str]:
    rows = await tx.execute(
        "select run_id from runs where state = 'ended' and compacted_at is null and ended_at < ?"
        " order by ended_at limit ?",
        ended_before,
        RUNS_PER_PASS_MAX,
    )
    return [run_id for (run_id,) in rows]


async def _compact_run(database: Database, run_id: str, now: float) -> None:
    after = 0
    while True:
        stream, pieces = await _pieces(database, run_id, after)
        is_last = len(pieces) < PIECES_PER_BATCH_MAX
        await _store(database, run_id, stream, _ranges(pieces), now if is_last else None)
        if is_last:
            return
        after = pieces[-1].offset


async def _pieces(database: Database, run_id: str, after: int) -> tuple[str, list[Entry]]:
    async def work(tx: Transaction) -> tuple[str, list[Entry]]:
        rows = await tx.execute(
            'select stream, "offset", frame, joined from events where run_id = ?'
            " and type = 'answer_delta' and \"offset\" > ? and length(frame) > 0"
            ' order by "offset" limit ?',
            run_id,
            after,
            PIECES_PER_BATCH_MAX,
        )
        entries = [Entry(offset, bytes(frame), offset - had) for _, offset, frame, had in rows]
        return (rows[0][0] if rows else ""), entries

    return await database.read(SERVER, work)


def _ranges(pieces: list[Entry]) -> list[Entry]:
    """Return the ranges that stand for more than they did."""
    firsts = {piece.offset: piece.first for piece in pieces}
    return [entry for entry in joined(pieces) if entry.first < firsts[entry.offset]]


async def _store(
    database: Database, run_id: str, stream: str, ranges: list[Entry], ended_now: float | None
) -> None:
    """Put ranges in the place of what they stand for; with a time, mark the run as done."""

    async def work(tx: Transaction) -> None:
        await tx.execute_many(
            'update events set frame = ?, joined = ? where stream = ? and "offset" = ?',
            [(entry.frame, entry.offset - entry.first, stream, entry.offset) for entry in ranges],
        )
        await tx.execute_many(
            'update events set frame = ? where stream = ? and "offset" >= ? and "offset" < ?',
            [(b"", stream, entry.first, entry.offset) for entry in ranges],
        )
        if ended_now is not None:
            await tx.execute("update runs set compacted_at = ? where run_id = ?", ended_now, run_id)
        if ranges:
            tx.announce(Compacted(sum(entry.offset - entry.first for entry in ranges)))

    await database.write(SERVER, work)
