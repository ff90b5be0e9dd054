"""What is done to the store beside the runs: trimming, joining, and telling a new lineage."""

from tidings.events.ranges import Entry, joined
from tidings.storage.warm.port import Transaction


async def trim(tx: Transaction, stream: str, first: int) -> None:
    """Keep nothing before `first`, but all of what has not ended: its end must prove the whole."""
    ((begun,),) = await tx.execute(
        'select min(e."offset") from events e join runs r on r.run_id = e.run_id'
        " where e.stream = ? and r.state <> 'ended'",
        stream,
    )
    first = first if begun is None else min(first, begun)
    await tx.execute('delete from events where stream = ? and "offset" < ?', stream, first)
    await tx.execute("update streams set first_offset = ? where stream = ?", first, stream)


async def compact(tx: Transaction, run_id: str) -> None:
    """Join the pieces of an ended run's answers where they are stored."""
    rows = await tx.execute(
        'select stream, "offset", frame from events where run_id = ? and joined = 0'
        ' and length(frame) > 0 order by "offset"',
        run_id,
    )
    entries = [Entry(offset, bytes(frame), offset) for _, offset, frame in rows]
    for entry in joined(entries):
        if entry.first == entry.offset:
            continue
        place = (rows[0][0], entry.first, entry.offset)
        await tx.execute(
            "update events set frame = x'' where stream = ? and \"offset\" between ? and ?", *place
        )
        await tx.execute(
            'update events set frame = ?, joined = ? where stream = ? and "offset" = ?',
            entry.frame,
            entry.offset - entry.first,
            place[0],
            entry.offset,
        )
    await tx.execute("update runs set compacted_at = 1 where run_id = ?", run_id)


async def begin_epoch(tx: Transaction, epoch: str) -> None:
    """Name a new lineage, as a restore does."""
    await tx.execute("update store set epoch = ?", epoch)
    await tx.execute("update streams set epoch = ?", epoch)
    await tx.execute("insert into epochs values (?, 0, 'restored', null)", epoch)
