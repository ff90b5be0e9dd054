"""Threads that only the history has, because older data took the place of newer in the store.

They are erased as if their user had deleted them: nobody else could. What they cost stays.
"""

from functools import partial

import msgspec

from tidings.domain.context import SERVER
from tidings.events import erasures
from tidings.storage.cold.port import ROWS_MAX, ColdStore, KeptThread
from tidings.storage.warm.port import Database, Transaction

MARGIN_SECONDS = 3600.0
"""So much earlier than the last export that the store knows of; clocks of nodes may differ."""


async def epoch(tx: Transaction) -> str:
    """Return the epoch that the store is in."""
    ((epoch,),) = await tx.execute("select epoch from store")
    return str(epoch)


async def disown(database: Database, store: ColdStore) -> int:
    """Note for erasure the threads of runs that are no more; return how many.

    The history is not asked in the store's first epoch, nor when this epoch has exported already.
    """
    since, disowned = await database.read(SERVER, _since), 0
    while since is not None:
        kept = await store.kept(SERVER, since)
        disowned += await database.write(SERVER, partial(_disown, kept=kept))
        since = kept[-1].newest if len(kept) == ROWS_MAX else None
    return disowned


async def _since(tx: Transaction) -> float | None:
    """Return from when on the history may have more than the store; None if it has not."""
    rows = await tx.execute(
        "select began_at from epochs where why <> 'created' and epoch = (select epoch from store)"
    )
    ((exported_at,),) = await tx.execute("select coalesce(max(exported_at), 0) from runs")
    if not rows or exported_at > rows[0][0]:
        return None
    return max(0.0, float(exported_at) - MARGIN_SECONDS)


async def _disown(tx: Transaction, kept: list[KeptThread]) -> int:
    disowned = 0
    for user_id, thread_id, _ in map(msgspec.structs.astuple, kept):
        if not await tx.execute("select 1 from threads where thread_id = ?", thread_id):
            await erasures.renew(tx, user_id, thread_id)
            disowned += 1
    return disowned
