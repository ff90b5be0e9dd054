"""Retention: what is too old goes in whole runs; who wanted it is told, and never shown a hole."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.events.past import ANA, LONG_AGO, MINE, STREAM, THREAD, Past, past
from tests.fakes.ports import CountingIds, FaultyDatabase, ManualClock
from tests.harness.stored import stored_streams
from tests.invariants import check
from tidings.domain.context import SERVER
from tidings.domain.errors import Conflict, Unavailable
from tidings.domain.events import EventType
from tidings.events import log, retention
from tidings.events.compaction import compact
from tidings.events.retention import Trimmed, trim
from tidings.router.reads import Reads

DAY = 86_400.0
LATER = LONG_AGO + 300 * DAY


def run(folder: Path, scenario: Callable[[Past], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with past(folder) as store:
            await scenario(store)

    asyncio.run(whole())


async def first_offset(store: Past, stream: str = STREAM) -> int:
    ((first,),) = await store.rows("select first_offset from streams where stream = ?", stream)
    return int(first)


def test_whole_old_runs_go_and_the_rest_stays(tmp_path: Path) -> None:
    async def scenario(store: Past) -> None:
        trimmed: list[Trimmed] = []
        store.hints.listen(Trimmed, trimmed.append)
        await store.whole_run("r1")  # 1..5
        await store.whole_run("r2", at=LATER)  # 6..10
        await trim(store.database, LATER)
        assert await first_offset(store) == 6
        assert [e.run_id for e in await store.read(5)] == ["r2"] * 5
        kept = await store.rows('select "offset" from events where stream = ?', STREAM)
        assert [offset for (offset,) in kept] == [1, 5, 6, 7, 8, 9, 10]
        assert trimmed == [Trimmed(5)]
        await trim(store.database, LATER)
        assert len(trimmed) == 1

    run(tmp_path, scenario)


def test_a_run_that_another_one_reaches_into_waits_for_it(tmp_path: Path) -> None:
    """The second message came while the first run was at work: neither is cut in two."""

    async def scenario(store: Past) -> None:
        await store.open_run("r1")
        await store.open_run("r2")
        await store.end_run("r1")
        await store.append("r2", (EventType.NOTICE, {}))
        await trim(store.database, LATER)
        assert await first_offset(store) == 1
        await store.end_run("r2", at=LATER)
        await trim(store.database, LATER)
        assert await first_offset(store) == 1
        await trim(store.database, LATER + 1)
        assert await first_offset(store) == 6

    run(tmp_path, scenario)


def test_events_of_no_run_go_by_their_own_age(tmp_path: Path) -> None:
    async def scenario(store: Past) -> None:
        moved = (EventType.THREAD_ACTIVITY, {"state": "queued"})
        await store.append(None, moved, moved)
        await store.append(None, moved, at=LATER)
        cursors = await store.cursors(MINE)
        await trim(store.database, LATER)
        assert await first_offset(store, MINE) == 3
        assert (await store.locate(cursors[1], MINE)).after == 2
        with pytest.raises(Conflict) as refusal:
            await store.locate(cursors[0], MINE)
        assert refusal.value.code == "cursor_trimmed"
        await trim(store.database, LATER + 1)
        assert (await store.locate(cursors[2], MINE)).after == 3
        assert await store.read(3, stream=MINE) == []

    run(tmp_path, scenario)


def test_the_same_cursor_resumes_after_seconds_days_and_months_or_is_told(tmp_path: Path) -> None:
    """One cursor of a device that is away, against a policy of 30 days, as time goes by."""

    async def scenario(store: Past) -> None:
        await store.whole_run("r1")
        away, whole = (await store.cursors())[1], (await store.cursors())[4]
        rest = [e.event_id for e in await store.read(2)]
        for seconds in (10, DAY, 10 * DAY, 29 * DAY):
            await trim(store.database, LONG_AGO + seconds - 30 * DAY)
            assert (await store.locate(away)).after == 2
            assert [e.event_id for e in await store.read(2)] == rest
        await trim(store.database, LONG_AGO + 300 * DAY - 30 * DAY)
        with pytest.raises(Conflict) as refusal:
            await store.locate(away)
        assert refusal.value.code == "cursor_trimmed"
        place = await store.locate(whole)  # who had everything has missed nothing
        assert (place.after, place.head) == (5, 5)
        assert (await store.locate("0")).after == 5

    run(tmp_path, scenario)


def test_a_cursor_at_the_edge_is_still_checked(tmp_path: Path) -> None:
    async def scenario(store: Past) -> None:
        await store.whole_run("r1")
        epoch, offset, _ = (await store.cursors())[-1].split(".")
        await trim(store.database, LATER)
        with pytest.raises(Conflict) as refusal:
            await store.locate(f"{epoch}.{offset}.AAAAAAAA")
        assert refusal.value.code == "cursor_diverged"

    run(tmp_path, scenario)


def test_f44_a_reader_in_the_range_that_is_trimmed_is_told_and_sees_no_hole(tmp_path: Path) -> None:
    async def scenario(store: Past) -> None:
        for number in range(4):
            await store.whole_run(f"r{number}", at=LONG_AGO + number * DAY)
        follower = await store.feed.follow(ANA, STREAM, "0", lambda: None)
        offsets = [entry.offset for entry in await follower.read(3)]
        await trim(store.database, LONG_AGO + 2 * DAY)
        with pytest.raises(Conflict) as refusal:
            await follower.read(3)
        assert refusal.value.code == "cursor_trimmed"
        assert (offsets, follower.after) == ([1, 2, 3], 3)
        beyond = await store.feed.follow(ANA, STREAM, "10", lambda: None)
        assert [entry.offset for entry in await beyond.read()] == list(range(11, 21))

    run(tmp_path, scenario)


def test_a_thread_whose_every_run_is_trimmed_is_listed_and_its_snapshot_is_whole(
    tmp_path: Path,
) -> None:
    async def scenario(store: Past) -> None:
        reads = Reads(store.database, ManualClock(), CountingIds())
        for number in range(3):
            await store.whole_run(f"r{number}")
        before = await reads.snapshot(ANA, THREAD)
        await trim(store.database, LATER)
        assert [thread["thread_id"] for thread in await reads.threads(ANA, 10, None)] == [THREAD]
        after = await reads.snapshot(ANA, THREAD)
        assert after == before
        assert [m["payload"] for m in after["messages"]][:2] == [
            {"text": "r0"},
            {"answer": "of r0"},
        ]
        assert (await store.locate(after["cursor"])).after == 15
        assert (await reads.events(ANA, STREAM, "0", 100))["events"] == []
        await store.whole_run("r9", at=LATER)
        page = await reads.events(ANA, STREAM, after["cursor"], 100)
        assert len(page["events"]) == 5

    run(tmp_path, scenario)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_a_crash_in_the_middle_of_trimming_is_made_good_by_the_next_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int, after: bool
) -> None:
    monkeypatch.setattr(retention, "ROWS_PER_BATCH_MAX", 4)

    async def scenario(store: Past) -> None:
        await store.whole_run("r1", notices=5)
        await store.whole_run("r2", notices=6)
        faulty = FaultyDatabase(store.database, lambda n: n == nth, after=after)
        with pytest.raises(Unavailable):
            await trim(faulty, LATER)
        reached = await first_offset(store)
        await store.read_all(reached - 1, 3)  # checks that there is no hole
        await trim(store.database, LATER)
        kept = await store.rows('select "offset", type from events where stream = ?', STREAM)
        assert await first_offset(store) == 16
        assert [offset for offset, _ in kept] == [1, 7, 8, 15]

    run(tmp_path, scenario)


def test_appending_goes_on_while_a_long_history_is_trimmed(tmp_path: Path) -> None:
    """No transaction of the trimming is long: what is appended meanwhile commits in between."""

    async def scenario(store: Past) -> None:
        for number in range(20):
            await store.whole_run(f"r{number:02}", notices=100)
        committed: list[int] = []

        async def trimming() -> None:
            await trim(store.database, LATER)
            committed.append(-1)

        async with asyncio.TaskGroup() as tasks:
            trimmer = tasks.create_task(trimming())
            while not trimmer.done():
                await store.append(None, (EventType.NOTICE, {}), at=LATER)
                committed.append(1)
        assert committed.index(-1) >= 3
        assert await first_offset(store) == 20 * 102 + 1

    run(tmp_path, scenario)


def test_what_is_joined_and_trimmed_keeps_every_promise_of_the_log(tmp_path: Path) -> None:
    async def scenario(store: Past) -> None:
        await store.append("r0", (EventType.NOTICE, {}))  # of a run that nothing else is known of
        for number in range(4):
            await store.open_run(f"r{number + 1}", at=LONG_AGO + number * DAY)
            pieces = [{"message_id": "m", "text": f"{n}"} for n in range(5)]
            await store.append(
                f"r{number + 1}", *((EventType.ANSWER_DELTA, piece) for piece in pieces)
            )
            await store.end_run(f"r{number + 1}", at=LONG_AGO + number * DAY)
        await compact(store.database, LATER, LATER)
        await trim(store.database, LONG_AGO + 2 * DAY)
        check(stored_streams(tmp_path), [], ended=True)
        assert await first_offset(store) == 16

    run(tmp_path, scenario)


def test_a_deleted_thread_stops_its_trimming(tmp_path: Path) -> None:
    async def scenario(store: Past) -> None:
        await store.whole_run("r1")
        await store.database.write(SERVER, lambda tx: tx.execute("delete from streams"))
        await store.database.write(SERVER, lambda tx: retention._remove(tx, STREAM, 1, 5))
        assert len(await store.rows("select 1 from events")) == 5
        assert await store.database.read(SERVER, lambda tx: log.heads(tx, [STREAM])) == {}

    run(tmp_path, scenario)
