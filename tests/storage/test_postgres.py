"""PostgreSQL as it fails: cut off, silent, restarted, full, read-only; and never twice or half."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

import pytest

from tests.harness.postgres import PostgresServer, postgres
from tests.harness.proxy import Direction, FaultProxy, proxying
from tests.harness.stopwatch import stopwatch
from tests.harness.tiers import database_of
from tests.storage.cancels import storm
from tests.world import ANA, World
from tidings.domain.commands import Receipt
from tidings.domain.context import SERVER
from tidings.domain.errors import Unavailable
from tidings.domain.runs import Outcome
from tidings.runs.context import RunContext
from tidings.storage.hot.memory import LocalHints
from tidings.storage.warm.port import Row, Transaction
from tidings.storage.warm.postgres.connections import (
    CONNECT_SECONDS,
    LOOK_SECONDS,
    NOBODY,
    WAIT_SECONDS,
    Connections,
)
from tidings.storage.warm.postgres.database import UNIT_SECONDS, PostgresDatabase
from tidings.storage.warm.postgres.dialect import numbered, typed

CANCELS = int(os.environ.get("TIDINGS_TEST_CANCELS", "300"))
COMMANDS = int(os.environ.get("TIDINGS_TEST_COMMANDS", "100"))


async def look(tx: Transaction) -> list[Row]:
    return await tx.execute("select count(*) from threads")


async def begin_duty(tx: Transaction) -> None:
    await tx.execute("insert into duties values ('d', '', 0)")


async def idle(ctx: RunContext) -> Outcome:
    return Outcome("done")


def through(url: str, proxy: FaultProxy) -> str:
    return url.replace(f":{proxy.target}/", f":{proxy.port}/")


@asynccontextmanager
async def opened(
    url: str, connections: int = 16, unit_seconds: float = 10.0
) -> AsyncIterator[PostgresDatabase]:
    database = PostgresDatabase(url, print, Random(1), connections, unit_seconds)
    try:
        yield database
    finally:
        await database.close()


@dataclass(slots=True)
class Cutting(Direction):
    """The way to the server: a commit that passes gets its connection cut, one of so many."""

    cuts: int = 0
    odds: float = 0.5
    random: Random | None = None
    down: Direction | None = None

    def take(self, data: bytes) -> list[bytes]:
        if self.random is not None and b"commit\0" in data and self.random.random() < self.odds:
            self.cuts += 1
            if self.random.random() < 0.5:
                self.reset_after = len(data)  # perhaps it is done, perhaps not
            elif self.down is not None:
                self.down.reset_after = 0  # it is done, and its answer lost
        return Direction.take(self, data)


def test_a_command_whose_commit_was_not_answered_has_its_effect_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with proxying(postgres().port) as proxy:
            proxy.up = cutting = Cutting(down=proxy.down)
            hints = LocalHints()
            async with opened(through(database_of(tmp_path), proxy)) as database:
                w = World(database, hints, {"idle": idle})
                await w.begin()
                await database.write(SERVER, add_ana)
                cutting.random = Random(2)
                waiting = list(range(COMMANDS))

                async def send() -> None:
                    while waiting:
                        await settle(w, f"m_{waiting.pop()}")

                async with asyncio.TaskGroup() as tasks:
                    for _ in range(3):
                        tasks.create_task(send())
                cutting.random = None
                sent = await database.read(SERVER, counts)
                assert sent == [(COMMANDS, COMMANDS, COMMANDS, COMMANDS)]
                assert cutting.cuts > COMMANDS / 4

    asyncio.run(scenario())


async def settle(w: World, command_id: str) -> Receipt:
    """Send a command until it is answered, as clients do; then end its run, to make room."""
    while True:
        try:
            receipt = await w.ask("Once.", id=command_id)
            await w.database.write(ANA, partial(end_run, run_id=receipt.run_id))
        except Unavailable:
            continue
        return receipt


async def add_ana(tx: Transaction) -> None:
    await tx.execute("insert into users values ('ana', 'acme', 'ana', '', 0, 0)")


async def end_run(tx: Transaction, run_id: str) -> None:
    await tx.execute("update runs set state = 'ended' where run_id = ?", run_id)


async def counts(tx: Transaction) -> list[Row]:
    return await tx.execute(
        "select (select count(*) from commands), (select count(*) from runs),"
        " (select count(*) from threads),"
        " (select count(*) from events where type = 'message_received')"
    )


def test_a_storm_of_cancellations_brings_nobody_a_foreign_byte(tmp_path: Path) -> None:
    seen = asyncio.run(storm(postgres(), database_of(tmp_path), CANCELS))
    assert seen["done"] > 10
    assert seen["cancelled"] >= CANCELS


def test_a_cancelled_unit_has_done_nothing_and_its_connection_is_gone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(database_of(tmp_path), connections=1) as database:

            async def slow(tx: Transaction) -> None:
                await begin_duty(tx)
                await tx.execute("select pg_sleep(30)")

            before = await database.read(SERVER, backend)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await database.write(SERVER, slow)
            assert await database.read(SERVER, backend) != before
            left = await database.read(SERVER, lambda tx: tx.execute("select 1 from duties"))
            assert left == []

    asyncio.run(scenario())


async def backend(tx: Transaction) -> list[Row]:
    return await tx.execute("select pg_backend_pid()")


def test_a_unit_that_fails_leaves_its_connection_to_the_next(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(database_of(tmp_path), connections=1) as database:

            async def fails(tx: Transaction) -> None:
                await begin_duty(tx)
                raise LookupError

            before = await database.read(SERVER, backend)
            with pytest.raises(LookupError):
                await database.write(SERVER, fails)
            assert await database.read(SERVER, backend) == before

    asyncio.run(scenario())


def test_who_waits_too_long_for_a_connection_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(database_of(tmp_path), connections=1) as database:
            await database.check()
            holding = asyncio.ensure_future(
                database.read(SERVER, lambda tx: tx.execute("select pg_sleep(30)"))
            )
            await asyncio.sleep(0.1)
            async with stopwatch(tmp_path) as watch:
                with pytest.raises(Unavailable) as busy:
                    await database.read(ANA, look)
            assert busy.value.code == "storage_busy"
            assert watch.seconds < WAIT_SECONDS + 1
            holding.cancel()
            await asyncio.wait({holding})

    asyncio.run(scenario())


@dataclass(slots=True)
class Counting(Direction):
    """The way to the server, which counts what is said at a time."""

    messages: int = 0

    def take(self, data: bytes) -> list[bytes]:
        self.messages += 1
        return Direction.take(self, data)


def test_connecting_takes_no_more_messages_than_a_distant_server_has_time_for(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with proxying(postgres().port) as proxy:
            proxy.up = counting = Counting()
            connections = Connections(through(database_of(tmp_path), proxy))
            session = await connections.take(NOBODY)
            # whether it speaks TLS, who we are, where the data are; a password is two more
            assert counting.messages == 3
            assert "." in connections.origin
            assert (
                await session.connection.fetchval("select sum(n) from generate_series(1, 3) n") == 6
            )
            connections.give_back(session)
            await connections.close()

    asyncio.run(scenario())


def test_a_unit_has_time_left_after_the_longest_way_to_a_connection() -> None:
    assert WAIT_SECONDS + CONNECT_SECONDS + LOOK_SECONDS < UNIT_SECONDS


def test_nobody_waits_longer_than_the_bound_for_a_server_that_says_nothing(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with (
            proxying(postgres().port) as proxy,
            opened(through(database_of(tmp_path), proxy), unit_seconds=2.0) as database,
        ):
            await database.read(ANA, look)
            proxy.down.block()
            for bound in (2.0, 2.0, CONNECT_SECONDS):  # on an open connection, then on a new one
                async with stopwatch(tmp_path) as watch:
                    with pytest.raises(Unavailable) as silent:
                        await database.read(ANA, look)
                assert silent.value.code == "storage_unavailable"
                assert watch.seconds < bound + 1
            proxy.down.unblock()
            assert await database.read(ANA, look) == [(0,)]

    asyncio.run(scenario())


def test_a_connection_that_fails_when_nobody_waits_for_it_any_more_troubles_nobody(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        async with (
            proxying(postgres().port) as proxy,
            opened(through(database_of(tmp_path), proxy), connections=1) as database,
        ):
            proxy.down.block()
            reading = asyncio.ensure_future(database.read(ANA, look))
            while not proxy.open:  # noqa: ASYNC110 - a connection of another's
                await asyncio.sleep(0.01)
            reading.cancel()
            await asyncio.wait({reading})
            proxy.calm()
            proxy.cut()
            assert await database.read(ANA, look) == [(0,)]  # the only place is free again
        gc.collect()
        assert told == []

    asyncio.run(scenario())


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_units_go_on_after_a_restart_of_the_server(how: str) -> None:
    server = PostgresServer()

    async def scenario() -> None:
        async with opened(server.database()) as database:
            await database.write(SERVER, begin_duty)
            await asyncio.to_thread(server.stop if how == "stop" else server.kill)
            with pytest.raises(Unavailable) as gone:
                await database.read(ANA, look)
            assert gone.value.code == "storage_unavailable"
            await asyncio.to_thread(server.start)
            kept = await database.read(SERVER, lambda tx: tx.execute("select 1 from duties"))
            assert kept == [(1,)]

    try:
        asyncio.run(scenario())
    finally:
        server.close()


def test_connections_that_a_restart_has_cut_are_not_seen_by_those_who_come_after_it() -> None:
    server = PostgresServer()

    async def scenario() -> None:
        async with opened(server.database()) as database:
            await asyncio.gather(*(database.read(SERVER, look) for _ in range(8)))
            server.stop()
            server.start()
            found = await asyncio.gather(*(database.read(SERVER, look) for _ in range(8)))
            assert found == [[(0,)]] * 8

    try:
        asyncio.run(scenario())
    finally:
        server.close()


def test_a_server_that_only_takes_reads_is_read_and_said_to_be_so(tmp_path: Path) -> None:
    url = database_of(tmp_path)
    postgres().sql(
        f"alter database {url.rpartition('/')[2]} set default_transaction_read_only = on"
    )

    async def scenario() -> None:
        async with opened(url) as database:
            assert await database.read(ANA, look) == [(0,)]
            with pytest.raises(Unavailable, match="only takes reads"):
                await database.write(SERVER, begin_duty)

    asyncio.run(scenario())


def test_a_deadlock_costs_one_of_the_two_an_attempt(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(database_of(tmp_path)) as database:
            await database.write(SERVER, two_duties)

            async def crossing(tx: Transaction, first: str, second: str) -> None:
                for name in (first, second):
                    await tx.execute(
                        "update duties set held_until = held_until + 1 where name = ?", name
                    )
                    await tx.execute("select pg_sleep(0.1)")

            await asyncio.gather(
                database.write(SERVER, lambda tx: crossing(tx, "a", "b")),
                database.write(SERVER, lambda tx: crossing(tx, "b", "a")),
            )
            held = await database.read(
                SERVER, lambda tx: tx.execute("select held_until from duties")
            )
            assert held == [(2.0,), (2.0,)]

    asyncio.run(scenario())


async def two_duties(tx: Transaction) -> None:
    await tx.execute_many("insert into duties values (?, '', 0)", [("a",), ("b",)])


def test_placeholders_are_numbered_and_quotes_left_alone() -> None:
    assert numbered("select ?, '?', \"?\", ? -- ?") == "select $1, '?', \"?\", $2 -- ?"
    assert numbered("select 'it''s ?', ?") == "select 'it''s ?', $1"


def test_types_of_columns_hold_what_sqlites_hold() -> None:
    script = "-- an integer\ncreate table t (a integer, b blob, c text, integers text);"
    assert typed(script) == (
        "-- an integer\ncreate table t (a bigint, b bytea, c text, integers text);"
    )
