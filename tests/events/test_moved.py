"""The data come to be elsewhere while readers follow: each proves its place, or is told."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.events.past import STREAM, Past, past
from tests.world import ANA
from tidings.domain.context import SERVER
from tidings.domain.errors import Conflict
from tidings.domain.events import EventType
from tidings.events.feed import Feed, Follower
from tidings.events.lineage import begin_epoch
from tidings.storage.hot.memory import LocalHints
from tidings.storage.warm.port import Transaction

TOLD = 5


def moved(
    folder: Path, scenario: Callable[[Past, Feed, Follower], Awaitable[None]], position: str = "0"
) -> None:
    """Have a follower that has read TOLD events, in a process that hears no hints."""

    async def whole() -> None:
        async with past(folder) as store:
            feed = Feed(store.database, LocalHints())
            await store.open_run("r1")
            await tell(store, TOLD - 1)  # after the message
            follower = await feed.follow(ANA, STREAM, position, lambda: None)
            while follower.behind:
                await follower.read()
            assert follower.after == TOLD
            await scenario(store, feed, follower)

    asyncio.run(whole())


async def tell(store: Past, count: int) -> None:
    await store.append("r1", *[(EventType.AGENT_THINKING, {"reasoning": "x"})] * count)


async def move(store: Past, lost: int) -> None:
    """Let the data be those of another place, where the newest events are not."""

    async def work(tx: Transaction) -> None:
        await begin_epoch(tx, "moved1", "moved", None, 0.0)
        await tx.execute(
            'delete from events where stream = ? and "offset" > ?', STREAM, TOLD - lost
        )
        await tx.execute("update streams set head = ? where stream = ?", TOLD - lost, STREAM)

    await store.database.write(SERVER, work)


def test_a_reader_that_has_seen_nothing_of_what_is_lost_goes_on(tmp_path: Path) -> None:
    async def scenario(store: Past, feed: Feed, follower: Follower) -> None:
        await move(store, lost=0)
        await tell(store, 2)
        await feed._poll([STREAM])
        assert follower.behind
        assert [entry.offset for entry in await follower.read()] == [6, 7]
        assert follower.epoch == "moved1"

    moved(tmp_path, scenario)


@pytest.mark.parametrize("told_since", [0, 2, 4])
def test_a_reader_that_has_seen_more_than_there_is_is_told(tmp_path: Path, told_since: int) -> None:
    """Whether the stream is shorter now, as long or longer: what it saw last is not there."""

    async def scenario(store: Past, feed: Feed, follower: Follower) -> None:
        await move(store, lost=2)
        await tell(store, told_since)
        await feed._poll([STREAM])
        assert follower.behind
        assert follower.take() is None
        with pytest.raises(Conflict) as told:
            await follower.read()
        assert told.value.code == "cursor_diverged"

    moved(tmp_path, scenario)


def test_what_the_log_shows_before_the_poll_does_is_not_taken_for_the_same_history(
    tmp_path: Path,
) -> None:
    async def scenario(store: Past, feed: Feed, follower: Follower) -> None:
        await tell(store, 1)
        await feed._poll([STREAM])  # the reader has something to read
        await move(store, lost=2)
        await tell(store, 4)
        assert await follower.read() == []
        with pytest.raises(Conflict):
            await follower.read()

    moved(tmp_path, scenario)


def test_a_reader_that_has_read_nothing_proves_its_place_by_its_cursor(tmp_path: Path) -> None:
    async def scenario(store: Past, feed: Feed, _: Follower) -> None:
        cursor = (await store.read(TOLD - 1))[0]
        position = f"{cursor.epoch}.{TOLD}.{cursor.event_id[-8:]}"
        follower = await feed.follow(ANA, STREAM, position, lambda: None)
        await move(store, lost=2)
        await tell(store, 4)
        await feed._poll([STREAM])
        with pytest.raises(Conflict):
            await follower.read()

    moved(tmp_path, scenario)
