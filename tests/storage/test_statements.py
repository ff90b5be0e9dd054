"""What connections have prepared: a round trip for each statement is paid once, not by each."""

import asyncio
from pathlib import Path

import pytest

from tests.harness.postgres import postgres
from tests.harness.proxy import proxying
from tests.harness.tiers import database_of
from tests.storage.test_postgres import Counting, look, opened, through
from tests.world import ANA
from tidings.domain.context import SERVER
from tidings.storage.warm.port import Row, Transaction
from tidings.storage.warm.postgres.connections import NOBODY, STATEMENTS_MAX, Connections

NUMBERS = 5


async def several(tx: Transaction) -> list[Row]:
    return [*[(await tx.execute(f"select {n} + ?", n))[0] for n in range(NUMBERS)]]


def test_a_new_connection_prepares_in_one_message_what_others_have(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with proxying(postgres().port) as proxy:
            proxy.up = counting = Counting()
            async with opened(through(database_of(tmp_path), proxy)) as database:
                taken = []
                for _ in range(2):
                    proxy.cut()
                    for _ in range(2):  # on a new connection, and again
                        before = counting.messages
                        assert await database.read(ANA, several) == [
                            (n * 2,) for n in range(NUMBERS)
                        ]
                        taken.append(counting.messages - before)
                known = 1 + NUMBERS + 1  # begin, each statement, rollback
                assert taken[1:] == [known, 3 + 1 + known, known]
                assert taken[0] >= 3 + NUMBERS + known

    asyncio.run(scenario())


def test_what_was_prepared_and_fits_the_schema_no_more_is_prepared_anew(tmp_path: Path) -> None:
    url = database_of(tmp_path)
    name = url.rpartition("/")[2]

    async def shown(tx: Transaction) -> list[Row]:
        return await tx.execute("select said from extra")

    async def change(sql: str) -> None:
        await asyncio.to_thread(postgres().sql, sql, name)

    async def scenario() -> None:
        async with proxying(postgres().port) as proxy, opened(through(url, proxy)) as database:
            await database.read(SERVER, look)
            await change(
                "create table extra (said text); grant select on extra to tidings_server;"
                " insert into extra values ('5')"
            )
            assert await database.read(SERVER, shown) == [("5",)]
            await change("alter table extra alter said type bigint using said::bigint")
            assert await database.read(SERVER, shown) == [(5,)]  # on the connection that knew it
            await change("drop table extra")
            proxy.cut()
            assert await database.read(SERVER, look) == [(0,)]  # on one that is told of it
            with pytest.raises(Exception, match="extra"):
                await database.read(SERVER, shown)

    asyncio.run(scenario())


def test_a_connection_that_has_prepared_too_much_is_closed(tmp_path: Path) -> None:
    async def scenario() -> None:
        connections = Connections(database_of(tmp_path), 1)
        session = await connections.take(NOBODY)
        session.ready = dict.fromkeys(map(str, range(STATEMENTS_MAX)))
        connections.give_back(session)
        assert await connections.take(NOBODY) is session
        session.ready["one more"] = None
        connections.give_back(session)
        assert session.connection.is_closed()
        connections.give_back(await connections.take(NOBODY))
        await connections.close()

    asyncio.run(scenario())
