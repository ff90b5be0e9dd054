"""Lineage: whether this is the store that was here before, or older data in its place.

The store's generation grows with every start and backup, and each minute in which something was
appended; in the database first, then in the mark beside it. A database that is behind its mark is
an older one, however it came here: a new epoch begins. See docs/decisions/0009.
"""

import asyncio
import logging
from pathlib import Path
from typing import Protocol

import msgspec

from tidings.domain.context import SERVER
from tidings.domain.errors import Unavailable
from tidings.domain.ports import Clock, IdSource
from tidings.events import log
from tidings.storage import marks
from tidings.storage.marks import Mark, Restoration
from tidings.storage.warm.port import Database, Transaction

_log = logging.getLogger(__name__)


class Epochs(msgspec.Struct, frozen=True):
    """A note at each start: how many epochs the store has had, and the events known to be lost."""

    count: int
    lost_events: int


class Continuity(Protocol):
    """Knows whether the store is the one that was here before."""

    def was_closed(self) -> bool:
        """Tell whether the store was left in order; if not, look at it first."""
        ...

    async def begin(self) -> None:
        """Find out what this store is, before anybody reads or writes it."""
        ...

    async def advance(self) -> None:
        """Take note, now and then, that the store has gone on."""
        ...

    async def end(self) -> None:
        """Leave the store in order."""
        ...


class Lineage:
    """Keeps the store's generation, and begins a new epoch where the history is another one."""

    def __init__(self, database: Database, clock: Clock, ids: IdSource, folder: Path) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._folder = folder
        self._begun = False
        self._newest: float | None = None

    def was_closed(self) -> bool:
        """Tell whether the last server here came to its end; if not, look at the store first."""
        mark = marks.read_mark(self._folder)
        return mark is not None and mark.clean

    async def begin(self) -> None:
        """Find out what this store is, before anybody reads or writes it; in a new epoch say so."""
        mark = marks.read_mark(self._folder)
        restoration = marks.read_restoration(self._folder)
        store_id, epoch = self._ids.new("s"), new_epoch(self._ids)
        now = self._clock.now()

        async def work(tx: Transaction) -> tuple[Mark, str | None]:
            await log.open_store(tx, store_id, now)
            await tx.lock("select 1 from store")
            stored = await _stored(tx)
            why = _why_anew(stored, mark, restoration)
            if why is not None:
                lost = restoration.lost_events if why == "restored" and restoration else None
                await begin_epoch(tx, epoch, why, lost, now)
            generation = max(stored.generation, mark.generation if mark else 0) + 1
            await tx.execute("update store set generation = ?", generation)
            tx.announce(await epochs(tx))
            return Mark(stored.store_id, generation), why

        fresh, why = await self._database.write(SERVER, work)
        await asyncio.to_thread(marks.put_mark, self._folder, fresh, closing=False)
        marks.drop_restoration(self._folder)
        self._newest = await self._database.read(SERVER, _newest)
        self._begun = True
        if why is not None:
            _log.warning("epoch %s begins: %s", epoch, _sentence(why, restoration))

    async def advance(self) -> None:
        """Raise the generation if anything was appended since the last time."""
        newest = await self._database.read(SERVER, _newest)
        if newest != self._newest:
            await self._raise(closing=None)
            self._newest = newest

    async def end(self) -> None:
        """Leave the store in order; without a `begin` there is nothing to leave."""
        if not self._begun:
            return
        try:
            await self._raise(closing=True)
        except (Unavailable, OSError):
            _log.warning("the store could not be closed in order; the next start looks at it")

    async def _raise(self, *, closing: bool | None) -> None:
        """Raise the generation in the database, then in the mark: never the other way round."""
        mark = await self._database.write(SERVER, raise_generation)
        await asyncio.to_thread(marks.put_mark, self._folder, mark, closing=closing)


async def raise_generation(tx: Transaction) -> Mark:
    """Raise the generation by one; return the store's mark from now on."""
    await tx.execute("update store set generation = generation + 1")
    return await _stored(tx)


def _why_anew(stored: Mark, mark: Mark | None, restoration: Restoration | None) -> str | None:
    """Return why a new epoch must begin: `restored`, `rewound`, or None: it need not."""
    if restoration is not None and (restoration.store_id, restoration.generation) == (
        stored.store_id,
        stored.generation,
    ):
        return "restored"
    if mark is None:
        return "restored" if stored.generation > 0 else None
    is_behind = stored.store_id != mark.store_id or stored.generation < mark.generation
    return "rewound" if is_behind else None


def _sentence(why: str, restoration: Restoration | None) -> str:
    if why == "rewound":
        return "older data are in the place of newer; what was lost is not known"
    if restoration is None or restoration.lost_events is None:
        return "the store was restored; what was lost is not known"
    return (
        f"the store was restored; {restoration.lost_events} events"
        f" and {restoration.lost_threads} threads are lost"
    )


def new_epoch(ids: IdSource) -> str:
    """Return a name for an epoch."""
    return ids.new("k")[-log.EPOCH_CHARACTERS :].lower()


async def begin_epoch(
    tx: Transaction, epoch: str, why: str, lost_events: int | None, now: float
) -> None:
    """Let every stream be of another history from now on."""
    await tx.execute(
        "insert into epochs (epoch, began_at, why, lost_events) values (?, ?, ?, ?)",
        epoch,
        now,
        why,
        lost_events,
    )
    await tx.execute("update store set epoch = ?", epoch)
    await tx.execute("update streams set epoch = ?", epoch)


async def _stored(tx: Transaction) -> Mark:
    ((store_id, generation),) = await tx.execute("select store_id, generation from store")
    return Mark(store_id, generation)


async def epochs(tx: Transaction) -> Epochs:
    """Return what is to be told of the store's epochs."""
    ((count, lost),) = await tx.execute(
        "select count(*), coalesce(sum(lost_events), 0) from epochs"
    )
    return Epochs(count, lost)


async def _newest(tx: Transaction) -> float | None:
    ((newest,),) = await tx.execute("select max(appended_at) from events")
    return float(newest) if newest is not None else None
