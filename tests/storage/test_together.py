"""Parts of a unit that are done together, and units that take turns: on every engine."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.storage.units import names, put, run
from tests.stores import ENGINES
from tidings.domain.context import SERVER
from tidings.storage.warm.port import Row, Store, Transaction

pytestmark = pytest.mark.parametrize("engine", ENGINES)

AT_ONCE = 20


def test_parts_that_do_not_need_each_other_are_done_together(tmp_path: Path, engine: str) -> None:
    insert = "insert into preferences (user_id, body) values (?, ?)"
    sums = (
        "select 1, 1, 2.5, sum(done), coalesce(sum(big), 0), null from (select 7 as done,"
        " 4611686018427387904 as big union all select -30007, 1) as numbers"
    )

    async def put_and_see(tx: Transaction, name: str) -> list[Row]:
        await put(tx, name)
        return await tx.execute("select name, '?' from users where name = ?", name)

    async def fill(tx: Transaction) -> None:
        many = [(f"many{n:02}", f"{n}") for n in range(20)]
        few = [("one", "?"), ("two", "'")]
        await tx.together(tx.execute_many(insert, many), tx.execute_many(insert, few))

    async def work(tx: Transaction) -> list[Any]:
        return await tx.together(
            put_and_see(tx, "a"),
            tx.together(fill(tx), put_and_see(tx, "b")),
            tx.execute(sums),
            tx.lock("select generation from store"),
            tx.execute("delete from users where name = 'nobody' returning name"),
            nothing(),
        )

    async def scenario(database: Store, notes: list[object]) -> None:
        first, (_, second), numbers, *empty = await database.write(SERVER, work)
        assert (first, second) == ([("a", "?")], [("b", "?")])
        assert numbers == [(1, 1, 2.5, -30000, 4611686018427387905, None)]
        assert empty == [[], [], None]
        assert await database.read(SERVER, names) == ["a", "b"]
        every = await database.read(SERVER, lambda tx: tx.execute("select * from preferences"))
        assert ("two", "'") in every
        assert len(every) == 22

    run(tmp_path, engine, scenario)


async def nothing() -> None:
    return None


def test_when_a_part_fails_nothing_of_the_unit_is_kept(tmp_path: Path, engine: str) -> None:
    async def scenario(database: Store, notes: list[object]) -> None:
        async def fails(tx: Transaction) -> None:
            await tx.execute("select 1")
            raise LookupError

        async def work(tx: Transaction) -> None:
            await tx.together(put(tx, "never"), tx.together(fails(tx), put(tx, "nor")))

        with pytest.raises(LookupError):
            await database.write(SERVER, work)
        assert await database.read(SERVER, names) == []
        await database.write(SERVER, partial(put, name="after"))
        assert await database.read(SERVER, names) == ["after"]

    run(tmp_path, engine, scenario)


def test_units_that_take_turns_see_what_the_one_before_has_done(
    tmp_path: Path, engine: str
) -> None:
    async def scenario(database: Store, notes: list[object]) -> None:
        async def one_more(tx: Transaction) -> int:
            await tx.turn("those who count")
            known = len(await names(tx))
            await put(tx, f"{known}")
            return known

        counted = await asyncio.gather(*(database.write(SERVER, one_more) for _ in range(AT_ONCE)))
        assert sorted(counted) == list(range(AT_ONCE))

    run(tmp_path, engine, scenario)
