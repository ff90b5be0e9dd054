"""The warm tier alone: what its engines take and give, without a server before them."""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from pathlib import Path
from random import Random

from bench.tables import table
from tests.harness.postgres import PostgresServer
from tidings.domain.context import SERVER, UserContext
from tidings.domain.events import Draft, EventType
from tidings.events import log
from tidings.storage.backups import DATABASE_FILE
from tidings.storage.warm.port import Store, Transaction
from tidings.storage.warm.postgres.database import PostgresDatabase
from tidings.storage.warm.sqlite import SqliteDatabase

SECONDS = 2.0
AT_ONCE = (1, 16)
TEXT = "x" * 200

_numbers = count(1)
Unit = Callable[[Store, UserContext], Awaitable[object]]


async def report() -> str:
    """Measure both engines, synced to disk, with as many users as there are units at once."""
    with tempfile.TemporaryDirectory() as folder:
        embedded = SqliteDatabase.open(Path(folder) / DATABASE_FILE, lambda _: None)
        rows = [["SQLite", *await _figures(embedded)]]
    server = PostgresServer(fsync="on", full_page_writes="on", shared_buffers="256MB")
    try:
        url = await asyncio.to_thread(server.database)
        rows.append(
            ["PostgreSQL", *await _figures(PostgresDatabase(url, lambda _: None, Random(1)))]
        )
    finally:
        server.close()
    heads = [f"{name}, {most} at once" for name, _, _ in _UNITS for most in AT_ONCE]
    return table("The warm tier alone", ["", *heads], rows)


async def _figures(store: Store) -> list[float]:
    users = [UserContext("bench", f"u_{number}", "s") for number in range(max(AT_ONCE))]
    await store.write(SERVER, partial(_begin, users=users))
    try:
        return [
            await _rate(store, unit, users[:most]) * each
            for _, unit, each in _UNITS
            for most in AT_ONCE
        ]
    finally:
        await store.close()


async def _rate(store: Store, unit: Unit, users: list[UserContext]) -> float:
    """Return the units per second of users who each begin one when the one before is done."""
    begun, done = time.monotonic(), count()

    async def one_after_another(user: UserContext) -> None:
        while time.monotonic() - begun < SECONDS:
            await unit(store, user)
            next(done)

    async with asyncio.TaskGroup() as tasks:
        for user in users:
            tasks.create_task(one_after_another(user))
    return next(done) / (time.monotonic() - begun)


async def _begin(tx: Transaction, users: list[UserContext]) -> None:
    await log.open_store(tx, "s_00000bench", 0.0)
    for user in users:
        await log.open_stream(tx, user, _stream(user))


def _stream(user: UserContext) -> str:
    return f"thread:{user.user_id}"


async def _append(store: Store, user: UserContext, each: int) -> None:
    drafts = [
        Draft(f"e_{next(_numbers):026d}", EventType.NOTICE, {"text": TEXT}) for _ in range(each)
    ]
    await store.write(user, lambda tx: log.append(tx, user, _stream(user), drafts, 0.0))


async def _read(store: Store, user: UserContext) -> None:
    await store.read(user, lambda tx: log.read_after(tx, user, _stream(user), 0, 100))


_UNITS: tuple[tuple[str, Unit, int], ...] = (
    ("events/s, 1 a transaction", partial(_append, each=1), 1),
    ("8 a transaction", partial(_append, each=8), 8),
    ("100 a transaction", partial(_append, each=100), 100),
    ("reads of 100 events/s", _read, 1),
)
