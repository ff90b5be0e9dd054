"""Lineage: an ordinary restart goes on; older data in the place of newer begin a new epoch."""

import asyncio
import logging
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.ports import ManualClock
from tidings.domain.context import SERVER, UserContext
from tidings.domain.cursors import FROM_HEAD, parse_cursor
from tidings.domain.errors import Conflict
from tidings.domain.events import Draft, EventType
from tidings.events import log
from tidings.events.lineage import Epochs, Lineage
from tidings.storage.backups import DATABASE_FILE
from tidings.storage.hot.memory import LocalHints
from tidings.storage.marks import (
    MARK_FILE,
    Mark,
    Restoration,
    put_mark,
    put_restoration,
    read_mark,
)
from tidings.storage.warm.port import Transaction
from tidings.storage.warm.sqlite import SqliteDatabase

ANA = UserContext("acme", "ana", "s1")
STREAM = "thread:t1"


class SeededIds:
    """Counting ids whose ends differ from seed to seed: those are what cursors and epochs show."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._numbers = count(1)

    def new(self, prefix: str) -> str:
        return f"{prefix}_{next(self._numbers):09d}{self._seed}"


class Started:
    """A store that a server has begun to work on."""

    def __init__(self, folder: Path, seed: str) -> None:
        self.hints = LocalHints()
        self.epochs: list[Epochs] = []
        self.hints.listen(Epochs, self.epochs.append)
        self.database = SqliteDatabase.open(folder / DATABASE_FILE, self.hints.publish)
        self.ids = SeededIds(seed)
        self.clock = ManualClock()
        self.lineage = Lineage(self.database, self.clock, self.ids, folder)

    async def append(self, count: int) -> list[str]:
        """Append so many events; return the cursor of each."""
        await self.database.write(ANA, lambda tx: log.open_stream(tx, ANA, STREAM))
        cursors = []
        for _ in range(count):
            self.clock.time += 1
            drafts = [Draft(self.ids.new("e"), EventType.NOTICE, {})]
            cursors.append(await self.database.write(SERVER, partial(self._append, drafts=drafts)))
        return cursors

    async def _append(self, tx: Transaction, drafts: list[Draft]) -> str:
        head = await log.append(tx, ANA, STREAM, drafts, self.clock.now())
        place = await log.locate(tx, ANA, STREAM, FROM_HEAD)
        return await log.cursor_at(tx, STREAM, place.epoch, head)

    async def locate(self, cursor: str) -> log.Place:
        return await self.database.read(ANA, lambda tx: log.locate(tx, ANA, STREAM, cursor))

    async def diverged(self, cursor: str) -> None:
        with pytest.raises(Conflict) as refusal:
            await self.locate(cursor)
        assert refusal.value.code == "cursor_diverged"

    async def history(self) -> list[tuple[Any, ...]]:
        return await self.database.read(
            SERVER,
            lambda tx: tx.execute("select why, lost_events from epochs order by began_at, rowid"),
        )


@asynccontextmanager
async def started(folder: Path, seed: str = "", *, crash: bool = False) -> AsyncIterator[Started]:
    store = Started(folder, seed)
    try:
        await store.lineage.begin()
        yield store
        if not crash:
            await store.lineage.end()
    finally:
        await store.database.close()


def generation(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        (found,) = connection.execute("select generation from store").fetchone()
        return int(found)


@pytest.mark.parametrize("crash", [False, True])
def test_an_ordinary_restart_begins_no_epoch(tmp_path: Path, crash: bool) -> None:
    async def scenario() -> None:
        generations = []
        async with started(tmp_path, "a", crash=crash) as store:
            (cursor,) = await store.append(1)
            assert store.epochs == [Epochs(1, 0)]
        for seed in ("b", "c"):
            async with started(tmp_path, seed, crash=crash) as store:
                assert await store.history() == [("created", 0)]
                place = await store.locate(cursor)
                assert (place.epoch, place.after) == (parse_cursor(cursor).epoch, 1)
                generations.append(generation(tmp_path / DATABASE_FILE))
        assert sorted(set(generations)) == generations
        mark = read_mark(tmp_path)
        assert mark is not None
        assert (mark.generation, mark.clean) == (generation(tmp_path / DATABASE_FILE), not crash)

    asyncio.run(scenario())


def test_f25_an_older_file_begins_an_epoch_and_every_client_has_its_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with started(tmp_path, "a") as store:
            behind, common = await store.append(2)
        shutil.copy(tmp_path / DATABASE_FILE, tmp_path / "copy.db")
        async with started(tmp_path, "b") as store:
            _, ahead, last = await store.append(3)
        shutil.copy(tmp_path / "copy.db", tmp_path / DATABASE_FILE)
        with caplog.at_level(logging.WARNING):
            async with started(tmp_path, "c") as store:
                assert await store.history() == [("created", 0), ("rewound", None)]
                assert store.epochs == [Epochs(2, 0)]
                assert "older data are in the place of newer" in caplog.text
                place = await store.locate(common)
                assert (place.after, place.head) == (2, 2)
                assert place.epoch not in {"", parse_cursor(common).epoch}
                assert (await store.locate(behind)).after == 1
                await store.diverged(ahead)
                others = await store.append(4)  # now the restored store has those offsets as well
                assert parse_cursor(others[0]).epoch == place.epoch
                for cursor in (ahead, last):
                    await store.diverged(cursor)
                for n, cursor in enumerate([behind, common, *others], start=1):
                    assert (await store.locate(cursor)).after == n
        async with started(tmp_path, "d") as store:
            assert len(await store.history()) == 2

    asyncio.run(scenario())


def test_a_copy_that_was_taken_while_the_server_worked_is_known_as_older(tmp_path: Path) -> None:
    """Whoever made it: the generation moves on as long as there is anything to lose."""

    async def scenario() -> None:
        async with started(tmp_path, "a", crash=True) as store:
            await store.append(1)
            await store.lineage.advance()
            with closing(sqlite3.connect(tmp_path / DATABASE_FILE)) as connection:
                connection.execute("vacuum into ?", (str(tmp_path / "copy.db"),))
            before = generation(tmp_path / DATABASE_FILE)
            await store.lineage.advance()
            assert generation(tmp_path / DATABASE_FILE) == before, "nothing was appended"
            await store.append(1)
            await store.lineage.advance()
        assert not (tmp_path / f"{DATABASE_FILE}-wal").exists()
        shutil.copy(tmp_path / "copy.db", tmp_path / DATABASE_FILE)
        async with started(tmp_path, "b") as store:
            assert (await store.history())[1:] == [("rewound", None)]

    asyncio.run(scenario())


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.98])
def test_f28_a_log_that_was_cut_off_is_known_as_older(tmp_path: Path, kept: float) -> None:
    """The end of the write-ahead log is lost; what is before it is used, and the loss is told."""
    torn = tmp_path / "torn"

    async def scenario() -> None:
        whole = tmp_path / "whole"
        whole.mkdir()
        async with started(whole, "a", crash=True) as store:
            cursors = await store.append(5)
            await store.lineage.advance()
            shutil.copytree(whole, torn)
        wal = torn / f"{DATABASE_FILE}-wal"
        wal.write_bytes(wal.read_bytes()[: int(wal.stat().st_size * kept)])
        async with started(torn, "b") as store:
            assert [why for why, _ in await store.history()][-1] == "rewound"
            await store.append(6)
            if kept < 0.9:
                await store.diverged(cursors[-1])

    asyncio.run(scenario())


def test_data_without_their_mark_come_from_elsewhere(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with started(tmp_path, "a") as store:
            (cursor,) = await store.append(1)
        (tmp_path / MARK_FILE).unlink()
        async with started(tmp_path, "b") as store:
            assert (await store.history())[1:] == [("restored", None)]
            assert (await store.locate(cursor)).after == 1
        (tmp_path / MARK_FILE).write_text('{"store_id": "gar')
        async with started(tmp_path, "c") as store:
            assert len(await store.history()) == 3

    asyncio.run(scenario())


def test_a_restore_tells_the_next_start_what_it_has_cost_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with started(tmp_path, "a") as store:
            await store.append(1)
        mark = read_mark(tmp_path)
        assert mark is not None
        put_restoration(tmp_path, Restoration(mark.store_id, mark.generation, 7, 1))
        for seed in ("b", "c"):
            async with started(tmp_path, seed) as store:
                assert await store.history() == [("created", 0), ("restored", 7)]
                assert store.epochs == [Epochs(2, 7)]

    asyncio.run(scenario())


def test_what_a_restore_of_other_data_has_told_is_not_believed(tmp_path: Path) -> None:
    """It was cut off before it put anything in place."""

    async def scenario() -> None:
        async with started(tmp_path, "a") as store:
            await store.append(1)
        put_restoration(tmp_path, Restoration("s_other", 1, 7, 1))
        async with started(tmp_path, "b") as store:
            assert await store.history() == [("created", 0)]

    asyncio.run(scenario())


def test_the_mark_never_goes_back(tmp_path: Path) -> None:
    """The server and a backup may write it at the same time."""

    async def scenario() -> None:
        async with started(tmp_path, "a", crash=True) as store:
            await store.append(1)
            with closing(
                sqlite3.connect(tmp_path / DATABASE_FILE, isolation_level=None)
            ) as connection:
                connection.execute("update store set generation = generation + 1")
            late = Mark(read_mark(tmp_path).store_id, 1)  # type: ignore[union-attr]
            await store.lineage.advance()
            put_mark(tmp_path, late)
        mark = read_mark(tmp_path)
        assert mark is not None
        assert mark.generation == generation(tmp_path / DATABASE_FILE) == 3

    asyncio.run(scenario())
