"""Lineage where an engine keeps the data for several processes: they may come to be elsewhere.

After a failover, or when older data were put back, the engine says that this is another copy. Then
a new epoch begins, before anybody reads or writes there: who has seen more than there is will know.
See docs/decisions/0059.
"""

import logging
from collections import deque

from tidings.domain.ports import IdSource
from tidings.events import log
from tidings.events.lineage import begin_epoch, epochs, new_epoch
from tidings.events.log import Appended
from tidings.storage.hot.port import Hints
from tidings.storage.warm.clock import AskTime, StoreClock
from tidings.storage.warm.port import Transaction, WriteFirst

REMEMBERED_EVENTS_MAX = 4_096
_MARK = b'"event_id":"'
_ASKED_AT_ONCE = 500

_log = logging.getLogger(__name__)


class SharedLineage:
    """Begins an epoch when the data have moved, and counts what this process knows to be lost."""

    def __init__(self, clock: StoreClock, ids: IdSource, hints: Hints) -> None:
        self._clock = clock
        self._ids = ids
        self._own: deque[str] = deque(maxlen=REMEMBERED_EVENTS_MAX)
        hints.listen(Appended, self._remember)

    async def arrive(self, origin: str, write: WriteFirst, time: AskTime) -> None:
        """Set the clock; begin an epoch unless this is the copy that was there before."""
        await self._clock.set_by(time)
        store_id, epoch = self._ids.new("s"), new_epoch(self._ids)
        now, own = self._clock.now(), list(self._own)

        async def work(tx: Transaction) -> None:
            await _one_at_a_time(tx, origin)
            await log.open_store(tx, store_id, now)
            ((known,),) = await tx.execute("select origin from store")
            if known is not None and known != origin:
                _log.warning("epoch %s begins: the data are another copy, %s", epoch, origin)
                await begin_epoch(tx, epoch, "moved", None, now)
            await tx.execute("update store set origin = ?", origin)
            if own:
                await _count_lost(tx, len(own) - await _found(tx, own))
            tx.announce(await epochs(tx))

        await write(work)
        self._own.clear()

    async def begin(self) -> None:
        """Do nothing: whoever opens the store arrives there first."""

    async def advance(self) -> None:
        """Do nothing: the engine keeps its own history."""

    async def end(self) -> None:
        """Do nothing: others go on."""

    def was_closed(self) -> bool:
        """Say no: nobody knows what others have done, so it is looked at."""
        return False

    def _remember(self, note: Appended) -> None:
        for entry in note.entries:
            start = entry.frame.find(_MARK) + len(_MARK)
            self._own.append(entry.frame[start : entry.frame.index(b'"', start)].decode())


async def _one_at_a_time(tx: Transaction, origin: str) -> None:
    """Wait for other processes that arrive."""
    await tx.execute(
        "insert into duties (name, owner, held_until) values ('arrival', ?, 0)"
        " on conflict (name) do update set owner = excluded.owner",
        origin,
    )


async def _found(tx: Transaction, event_ids: list[str]) -> int:
    """Return how many of these events are there."""
    found = 0
    for start in range(0, len(event_ids), _ASKED_AT_ONCE):
        asked = event_ids[start : start + _ASKED_AT_ONCE]
        marks = ", ".join("?" * len(asked))
        ((count,),) = await tx.execute(
            f"select count(*) from events where event_id in ({marks})",  # noqa: S608 - marks
            *asked,
        )
        found += count
    return found


async def _count_lost(tx: Transaction, lost: int) -> None:
    """Add what one process knows to be lost; each event is known to the one that appended it."""
    await tx.execute(
        "update epochs set lost_events = coalesce(lost_events, 0) + ?"
        " where epoch = (select epoch from store)",
        lost,
    )
