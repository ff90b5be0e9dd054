"""The log: contiguous, complete, each user's own, and honest about lost history."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.fakes.ports import CountingIds
from tests.stores import store_in
from tidings.domain.context import SERVER, UserContext
from tidings.domain.cursors import cursor_of
from tidings.domain.errors import Conflict, InvalidInput, NotFound
from tidings.domain.events import Draft, Event, EventType
from tidings.events import log
from tidings.events.feed import Feed
from tidings.storage.hot.memory import LocalHints
from tidings.storage.warm.port import Database, Transaction

ANA = UserContext("acme", "ana", "s1")
BOB = UserContext("acme", "bob", "s2")
STREAM = "thread:t1"


class Store:
    """A real store with one stream of Ana's."""

    def __init__(self, database: Database, hints: LocalHints, ids: CountingIds) -> None:
        self.database = database
        self.feed = Feed(database, hints)
        self.ids = ids

    def drafts(self, *texts: str) -> list[Draft]:
        return [Draft(self.ids.new("e"), EventType.NOTICE, {"message": text}) for text in texts]

    async def append(self, *texts: str) -> int:
        return await self.append_drafts(self.drafts(*texts))

    async def append_drafts(self, drafts: list[Draft]) -> int:
        return await self.database.write(ANA, lambda tx: log.append(tx, ANA, STREAM, drafts, 0.0))

    async def events(self, after: int = 0) -> list[Event]:
        _, entries = await self.database.read(
            ANA, lambda tx: log.read_after(tx, ANA, STREAM, after, 99)
        )
        return [msgspec.json.decode(frame, type=Event) for _, frame, _ in entries]

    async def cursor(self, offset: int) -> str:
        event = (await self.events(offset - 1))[0]
        return str(cursor_of(event.epoch, event.offset, event.event_id))

    async def locate(self, position: str) -> log.Place:
        return await self.database.read(ANA, lambda tx: log.locate(tx, ANA, STREAM, position))


def run(path: Path, scenario: Callable[[Store], Awaitable[Any]], seed: str = "") -> None:
    async def whole() -> None:
        hints = LocalHints()
        database = store_in(path, hints.publish)
        store = Store(database, hints, CountingIds(seed))

        async def begin(tx: Transaction) -> None:
            await log.open_store(tx, "s_000k3f9ab", 0.0)
            await log.open_stream(tx, ANA, STREAM)

        try:
            await database.write(SERVER, begin)
            await scenario(store)
        finally:
            await database.close()

    asyncio.run(whole())


def test_offsets_are_contiguous_from_one_under_concurrent_appends(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(40):
                tasks.create_task(store.append(f"{number}a", f"{number}b"))
        assert [event.offset for event in await store.events()] == list(range(1, 81))

    run(tmp_path, scenario)


def test_appending_the_same_event_again_changes_nothing(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        first = store.drafts("one", "two")
        assert await store.append_drafts(first) == 2
        assert await store.append_drafts([*first, *store.drafts("three")]) == 3
        texts = [event.payload["message"] for event in await store.events()]
        assert texts == ["one", "two", "three"]

    run(tmp_path, scenario)


def test_a_stream_belongs_to_one_user(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        await store.append("secret")
        works: list[Callable[[Transaction], Awaitable[Any]]] = [
            lambda tx: log.append(tx, BOB, STREAM, store.drafts("x"), 0.0),
            lambda tx: log.open_stream(tx, BOB, STREAM),
            lambda tx: log.read_after(tx, BOB, STREAM, 0, 10),
            lambda tx: log.locate(tx, BOB, STREAM, "0"),
        ]
        for work in works:
            with pytest.raises(NotFound):
                await store.database.write(SERVER, work)
        with pytest.raises(NotFound):
            await store.feed.follow(BOB, STREAM, "0", lambda: None)
        assert len(await store.events()) == 1

    run(tmp_path, scenario)


def test_a_cursor_resumes_right_behind_its_event(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        await store.append("one", "two", "three")
        assert (await store.locate(await store.cursor(2))).after == 2
        assert (await store.locate("0")).after == 0
        assert (await store.locate("live")).after == 3
        assert (await store.locate("2")).after == 2

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    "cursor", ["", "x", "-1", "k.1", "k.01.aaaaaaaa", "k.1.aa", "k.1.aaaaaaaa\n", "٣", "1" * 19]
)
def test_garbage_is_not_a_cursor(tmp_path: Path, cursor: str) -> None:
    async def scenario(store: Store) -> None:
        await store.append("one")
        with pytest.raises(InvalidInput) as refusal:
            await store.locate(cursor)
        assert refusal.value.code == "cursor_invalid"

    run(tmp_path, scenario)


def test_a_client_that_has_seen_what_the_store_lost_is_told(tmp_path: Path) -> None:
    """A restored store first lacks the events, then writes others in their place."""
    cursors: list[str] = []

    async def before(store: Store) -> None:
        await store.append("one", "two", "three")
        cursors.extend([await store.cursor(1), await store.cursor(3)])

    async def rewind(store: Store) -> None:
        async def cut(tx: Transaction) -> None:
            await tx.execute('delete from events where "offset" > 1')
            await tx.execute("update streams set head = 1")

        await store.database.write(SERVER, cut)
        await diverged(store)
        await store.append("other two", "other three")
        await diverged(store)

    async def diverged(store: Store) -> None:
        assert (await store.locate(cursors[0])).after == 1
        with pytest.raises(Conflict) as refusal:
            await store.locate(cursors[1])
        assert refusal.value.code == "cursor_diverged"

    run(tmp_path, before)
    run(tmp_path, rewind, seed="z")


def test_a_client_older_than_what_is_kept_is_told(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        await store.append("one", "two", "three", "four")
        old, gone = await store.cursor(1), await store.cursor(2)

        async def trim(tx: Transaction) -> None:
            await tx.execute('delete from events where "offset" <= 2')
            await tx.execute("update streams set first_offset = 3")

        await store.database.write(SERVER, trim)
        for cursor in (old, gone):
            with pytest.raises(Conflict) as refusal:
                await store.locate(cursor)
            assert refusal.value.code == "cursor_trimmed"
        assert (await store.locate("0")).after == 2
        assert (await store.locate(await store.cursor(3))).after == 3

    run(tmp_path, scenario)


def test_followers_see_every_entry_once_from_memory_or_from_the_log(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        await store.append(*(f"old {n}" for n in range(300)))
        woken = asyncio.Event()
        early = await store.feed.follow(ANA, STREAM, "0", woken.set)
        late = await store.feed.follow(ANA, STREAM, "live", woken.set)
        await store.append("new")
        assert woken.is_set()
        offsets = []
        while early.behind:
            offsets += [offset for offset, _, _ in await early.read()]
        assert offsets == list(range(1, 302))
        assert [offset for offset, _, _ in await late.read()] == [301]
        assert await late.read() == []

    run(tmp_path, scenario)


def test_a_lost_hint_is_made_good_by_the_poll(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        deaf = Feed(store.database, LocalHints())
        woken = asyncio.Event()
        follower = await deaf.follow(ANA, STREAM, "live", woken.set)
        await store.append("unheard")
        assert not follower.behind
        async with asyncio.TaskGroup() as tasks:
            polling = tasks.create_task(deaf.run())
            await woken.wait()
            polling.cancel()
        assert [offset for offset, _, _ in await follower.read()] == [1]

    run(tmp_path, scenario)


def test_a_feed_forgets_streams_that_nobody_follows(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        follower = await store.feed.follow(ANA, STREAM, "0", lambda: None)
        await store.append("one")
        follower.close()
        assert store.feed.head(STREAM) == 0

    run(tmp_path, scenario)


def test_a_place_right_before_the_first_kept_event_needs_no_snapshot(tmp_path: Path) -> None:
    """A command in a thread whose events have all left the log begins there."""

    async def scenario(store: Store) -> None:
        await store.append("one", "two")

        async def trim(tx: Transaction) -> None:
            await tx.execute("delete from events")
            await tx.execute("update streams set first_offset = 3")

        await store.database.write(SERVER, trim)
        place = await store.locate("2")
        assert (place.after, place.head) == (2, 2)
        at = await store.database.read(SERVER, lambda tx: log.cursor_at(tx, STREAM, place.epoch, 2))
        assert at == "2"
        await store.append("three")
        assert (await store.locate(at)).after == 2
        assert [event.offset for event in await store.events(2)] == [3]

    run(tmp_path, scenario)


def test_a_read_is_bounded_by_bytes_but_one_entry_always_comes(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        await store.append(*["x" * 1_000] * 5)
        follower = await store.feed.follow(ANA, STREAM, "0", lambda: None)
        sizes = [len(await follower.read(bytes_max=most)) for most in (1, 2_500, 10_000)]
        assert sizes == [1, 2, 2]
        follower.close()

    run(tmp_path, scenario)
