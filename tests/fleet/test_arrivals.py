"""Processes arrive where the data are: one epoch for another copy, with the loss that they know."""

import asyncio
from collections.abc import Iterator
from random import Random

import pytest

from tests.harness.postgres import postgres
from tidings.domain.context import SERVER
from tidings.events.log import Appended
from tidings.events.ranges import Entry
from tidings.events.shared_lineage import SharedLineage
from tidings.storage.hot.memory import LocalHints
from tidings.storage.warm.clock import StoreClock
from tidings.storage.warm.port import Row, Transaction
from tidings.storage.warm.postgres.database import PostgresDatabase
from tidings.system import SystemClock, UlidSource

GONE = b'{"type":"notice","event_id":"e_01HGONE"}'


@pytest.fixture
def url() -> Iterator[str]:
    """A database of the test's own."""
    url = postgres().database()
    yield url
    postgres().drop(url)


def process(url: str, *appended: bytes) -> PostgresDatabase:
    """Open the database as a process that has appended these events elsewhere before."""
    hints = LocalHints()
    clock = StoreClock(SystemClock())
    lineage = SharedLineage(clock, UlidSource(clock), hints)
    entries = [Entry(n, frame, n) for n, frame in enumerate(appended, 1)]
    hints.publish(Appended("ana", "thread:t", "aaaaaa", len(entries), entries))
    return PostgresDatabase(url, hints.publish, Random(1), arrivals=lineage)


async def epochs(database: PostgresDatabase) -> list[Row]:
    async def work(tx: Transaction) -> list[Row]:
        return await tx.execute("select why, lost_events from epochs order by began_at")

    return await database.read(SERVER, work)


async def be_elsewhere(database: PostgresDatabase) -> None:
    """Let the data be those of another copy."""

    async def work(tx: Transaction) -> None:
        await tx.execute("update store set origin = 'another'")

    await database.write(SERVER, work)


def test_the_same_copy_is_the_same_epoch_however_many_arrive(url: str) -> None:
    async def scenario() -> None:
        many = [process(url) for _ in range(5)]
        async with asyncio.TaskGroup() as tasks:
            found = [tasks.create_task(epochs(each)) for each in many]
        assert all(task.result() == [("created", 0)] for task in found)
        for each in many:
            await each.close()

    asyncio.run(scenario())


def test_another_copy_is_one_epoch_and_the_loss_is_what_each_process_has_appended(url: str) -> None:
    async def scenario() -> None:
        before = process(url)
        await be_elsewhere(before)
        one, two = process(url, GONE, GONE.replace(b"GONE", b"LOST")), process(url, GONE)
        async with asyncio.TaskGroup() as tasks:
            for each in (one, two):
                tasks.create_task(epochs(each))
        assert await epochs(one) == [("created", 0), ("moved", 3)]
        for each in (before, one, two):
            await each.close()

    asyncio.run(scenario())
