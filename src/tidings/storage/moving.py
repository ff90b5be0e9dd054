"""A store carried from one database to another, row by row, whatever their engines.

The target's `store` row comes first, with a generation that no server works on; the true one is its
last write. So a move that was cut off is known as such, and begun again from the start.
"""

import hashlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import NamedTuple

import msgspec

from tidings.domain.context import SERVER
from tidings.domain.errors import Conflict, InvalidInput
from tidings.storage.marks import UNFINISHED_GENERATION, Mark, is_unfinished, unfinished
from tidings.storage.warm.catalogue import StoredTable, tables
from tidings.storage.warm.port import Database, Row, Transaction

PAGE_ROWS_MAX = 256
_STORE = "store"
_SUM_BYTES = 16


class Sum(NamedTuple):
    """What a table holds: how many rows, and a digest of them in any order."""

    rows: int
    digest: int


class Moved(NamedTuple):
    """A finished move: the rows of each table, and the mark of the store from now on."""

    rows: dict[str, int]
    mark: Mark


Told = Callable[[str, int], None]
"""Hears, after each page, how many rows of a table are there."""


async def move(source: Database, target: Database, told: Told) -> Moved:
    """Carry everything, and see that it has arrived; nobody may work on either meanwhile.

    Memory holds PAGE_ROWS_MAX rows at a time. The target's generation is above the source's at
    the end: who goes on with the source by mistake is known to have older data.

    Raises:
        InvalidInput: `no_store`: no server has ever worked on the source.
        Conflict: `target_not_empty`, `move_differs`.
        Unavailable: `store_unfinished`: the source is an unfinished move's target; a store's fault.
    """
    every = tables()
    (store,) = [table for table in every if table.name == _STORE]
    carried = [table for table in every if table.name != _STORE]
    row = await _store_row(source, store)
    mark = _mark_of(store, row)
    await _make_room(target, carried, mark.store_id)
    await target.write(SERVER, partial(_put_unfinished, store, row))
    for table in carried:
        await _carry(source, target, table, told)
    rows = {table.name: await _compared(source, target, table) for table in carried}
    if await _store_row(source, store) != row:
        raise _differs(_STORE)
    raised = Mark(mark.store_id, mark.generation + 1)
    await target.write(SERVER, partial(_set_generation, raised.generation))
    return Moved(rows, raised)


async def _store_row(source: Database, store: StoredTable) -> Row:
    sql = f"select {_names(store.columns)} from store"  # noqa: S608 - names of the schema
    rows = await source.read(SERVER, partial(_rows, sql, ()))
    if not rows:
        raise InvalidInput("no_store", "No server has ever worked on the source.")
    return rows[0]


def _mark_of(store: StoredTable, row: Row) -> Mark:
    fields = dict(zip(store.columns, row, strict=True))
    mark = Mark(fields["store_id"], fields["generation"])
    if is_unfinished(mark.generation):
        raise unfinished()
    return mark


async def _make_room(target: Database, carried: list[StoredTable], store_id: str) -> None:
    """See that the target is empty, or remove what a move of this store has left there."""
    found = await target.read(
        SERVER, lambda tx: tx.execute("select store_id, generation from store")
    )
    was_begun = any(there == store_id and is_unfinished(generation) for there, generation in found)
    for table in reversed(carried):
        if was_begun:
            while await target.write(SERVER, partial(_drop_page, table)):
                pass
        elif found or not await _is_empty(target, table):
            raise Conflict(
                "target_not_empty",
                "The target holds data, of another store or a whole one: name an empty one.",
            )


async def _drop_page(table: StoredTable, tx: Transaction) -> bool:
    """Delete a page of rows; False when there were none."""
    key = _names(table.key)
    dropped = await tx.execute(
        f"delete from {table.name} where ({key}) in"  # noqa: S608 - names of the schema
        f" (select {key} from {table.name} limit {PAGE_ROWS_MAX}) returning 1"
    )
    return bool(dropped)


async def _is_empty(target: Database, table: StoredTable) -> bool:
    sql = f"select 1 from {table.name} limit 1"  # noqa: S608 - names of the schema
    return not await target.read(SERVER, partial(_rows, sql, ()))


async def _put_unfinished(store: StoredTable, row: Row, tx: Transaction) -> None:
    await tx.execute("delete from store")
    await _insert(store, [row], tx)
    await _set_generation(UNFINISHED_GENERATION, tx)


async def _set_generation(generation: int, tx: Transaction) -> None:
    await tx.execute("update store set generation = ?", generation)


async def _carry(source: Database, target: Database, table: StoredTable, told: Told) -> None:
    count = 0
    async for page in _pages(source, table):
        await target.write(SERVER, partial(_insert, table, page))
        count += len(page)
        told(table.name, count)


async def _insert(table: StoredTable, rows: list[Row], tx: Transaction) -> None:
    marks = ", ".join("?" * len(table.columns))
    into = f"{table.name} ({_names(table.columns)})"
    sql = f"insert into {into} values ({marks})"  # noqa: S608 - names of the schema
    await tx.execute_many(sql, rows)


async def _compared(source: Database, target: Database, table: StoredTable) -> int:
    """Return how many rows both have, once they are known to be the same.

    The source is read anew: what was changed there meanwhile is found, too.
    """
    there, here = await _sum(source, table), await _sum(target, table)
    if there != here:
        raise _differs(table.name)
    return here.rows


async def _sum(database: Database, table: StoredTable) -> Sum:
    rows = digest = 0
    async for page in _pages(database, table):
        rows += len(page)
        digest += sum(_digest(row) for row in page)
    return Sum(rows, digest % 2 ** (8 * _SUM_BYTES))


def _digest(row: Row) -> int:
    packed = msgspec.msgpack.encode(row)
    return int.from_bytes(hashlib.blake2b(packed, digest_size=_SUM_BYTES).digest())


async def _pages(database: Database, table: StoredTable) -> AsyncIterator[list[Row]]:
    """Yield all rows by the primary key, whatever order the engine sorts texts in."""
    key = _names(table.key)
    marks = ", ".join("?" * len(table.key))
    places = [table.columns.index(column) for column in table.key]
    select = f"select {_names(table.columns)} from {table.name}"  # noqa: S608 - of the schema
    rest = f"order by {key} limit {PAGE_ROWS_MAX}"
    first = partial(_rows, f"{select} {rest}", ())
    page = await database.read(SERVER, first)
    while page:
        yield page
        last = tuple(page[-1][place] for place in places)
        following = partial(_rows, f"{select} where ({key}) > ({marks}) {rest}", last)
        page = await database.read(SERVER, following)


async def _rows(sql: str, values: Row, tx: Transaction) -> list[Row]:
    return await tx.execute(sql, *values)


def _names(columns: tuple[str, ...]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def _differs(table: str) -> Conflict:
    return Conflict(
        "move_differs",
        f"What has arrived in {table} is not what is in the source; somebody works on one of them."
        " Stop them and begin again.",
    )
