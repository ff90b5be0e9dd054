"""Compaction: fewer rows, and not one byte of an answer different for any cursor there ever was."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.events.past import ANA, LONG_AGO, STREAM, Past, past
from tests.fakes.ports import FaultyDatabase
from tidings.domain.errors import Unavailable
from tidings.domain.events import Event, EventType
from tidings.events import compaction
from tidings.events.compaction import Compacted, compact

AFTERWARDS = LONG_AGO + 7200
Told = tuple[EventType, dict[str, Any]]


def piece(text: str, message_id: str = "m1") -> Told:
    return EventType.ANSWER_DELTA, {"message_id": message_id, "text": text}


TEXT = st.text(st.sampled_from('ab\n"\\é中👩‍👩‍👧\u202e<'), max_size=6)
TOLD = st.lists(
    st.one_of(
        st.builds(piece, TEXT, st.sampled_from(["m1", "m1", "m1", "m2"])),
        st.just((EventType.NOTICE, {"code": "x", "message": "between"})),
        st.none(),
    ),
    max_size=24,
)


def heard(events: list[Event]) -> list[tuple[str, str]]:
    """Return what a client has applied: pieces of a message joined, everything else by id."""
    story: list[tuple[str, str]] = []
    for event in events:
        if event.type != EventType.ANSWER_DELTA:
            story.append(("", event.event_id))
        elif story and story[-1][0] == event.payload["message_id"]:
            story[-1] = (story[-1][0], story[-1][1] + event.payload["text"])
        else:
            story.append((event.payload["message_id"], event.payload["text"]))
    return [part for part in story if part[1]]


async def tell(store: Past, told: list[Told | None]) -> None:
    """Let one run tell this; at each None another run's message comes in between."""
    await store.open_run("r1")
    for number, event in enumerate(told):
        if event is None:
            await store.open_run(f"r2{number:03}")
        else:
            await store.append("r1", event)
    await store.end_run("r1")


@settings(max_examples=40, deadline=None)
@given(told=TOLD, limit=st.integers(1, 9))
def test_every_cursor_there_ever_was_resumes_to_the_same_text(
    told: list[Told | None], limit: int
) -> None:
    async def scenario(folder: Path) -> None:
        async with past(folder) as store:
            await tell(store, told)
            cursors = await store.cursors()
            before = [heard(await store.read_all(n, limit)) for n in range(len(cursors) + 1)]
            for _ in range(2):  # again: it changes nothing
                await compact(store.database, AFTERWARDS, AFTERWARDS)
                for n, cursor in enumerate(["0", *cursors]):
                    place = await store.locate(cursor)
                    assert place.after == n
                    assert heard(await store.read_all(n, limit)) == before[n]

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(scenario(Path(folder)))


def test_neighbouring_pieces_of_one_message_become_one_row(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with past(tmp_path) as store:
            joined: list[Compacted] = []
            store.hints.listen(Compacted, joined.append)
            await tell(store, [piece("Hel"), piece("lo"), None, piece(" you"), piece("!", "m2")])
            assert await compact(store.database, AFTERWARDS, AFTERWARDS) == 1
            pieces = [e for e in await store.read(0) if e.type == EventType.ANSWER_DELTA]
            assert [(e.first, e.offset, e.payload["text"]) for e in pieces] == [
                (2, 3, "Hello"),
                (5, 5, " you"),
                (6, 6, "!"),
            ]
            assert pieces[0].payload["lengths"] == [3, 2]
            assert joined == [Compacted(1)]
            assert await compact(store.database, AFTERWARDS, AFTERWARDS) == 0

    asyncio.run(scenario())


def test_a_run_that_is_open_or_has_just_ended_is_left_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with past(tmp_path) as store:
            await store.open_run("r1")
            await store.append("r1", piece("a"), piece("b"))
            assert await compact(store.database, AFTERWARDS, AFTERWARDS) == 0
            await store.end_run("r1", at=AFTERWARDS)
            assert await compact(store.database, AFTERWARDS, AFTERWARDS) == 0
            assert await compact(store.database, AFTERWARDS + 1, AFTERWARDS) == 1

    asyncio.run(scenario())


def test_a_long_answer_is_joined_in_bounded_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "PIECES_PER_BATCH_MAX", 4)

    async def scenario() -> None:
        async with past(tmp_path) as store:
            await tell(store, [piece(f"{n} ") for n in range(11)])
            await compact(store.database, AFTERWARDS, AFTERWARDS)
            events = await store.read_all(0, 100)
            assert [(e.first, e.offset) for e in events[1:-1]] == [(2, 5), (6, 9), (10, 12)]
            assert heard(events)[1] == ("m1", "0 1 2 3 4 5 6 7 8 9 10 ")

    asyncio.run(scenario())


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_crash_in_the_middle_of_compaction_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int, after: bool
) -> None:
    monkeypatch.setattr(compaction, "PIECES_PER_BATCH_MAX", 4)

    async def scenario() -> None:
        async with past(tmp_path) as store:
            await tell(store, [piece(f"{n} ") for n in range(10)])
            before = heard(await store.read_all(0, 3))
            faulty = FaultyDatabase(store.database, lambda n: n == nth, after=after)
            with pytest.raises(Unavailable):
                await compact(faulty, AFTERWARDS, AFTERWARDS)
            assert heard(await store.read_all(0, 3)) == before
            await compact(store.database, AFTERWARDS, AFTERWARDS)
            assert heard(await store.read_all(0, 3)) == before

    asyncio.run(scenario())


def test_f45_a_reader_goes_on_while_what_it_reads_is_joined(tmp_path: Path) -> None:
    """One follower is in the middle, one live from memory, one begins after: equal, no repeats."""

    async def scenario() -> None:
        async with past(tmp_path) as store:
            live = await store.feed.follow(ANA, STREAM, "live", lambda: None)
            half = await store.feed.follow(ANA, STREAM, "0", lambda: None)
            await tell(store, [piece(f"{n} ") for n in range(20)])
            offsets = [entry.offset for entry in await half.read(7)]
            await compact(store.database, AFTERWARDS, AFTERWARDS)
            late = await store.feed.follow(ANA, STREAM, "0", lambda: None)
            deaf = Past(store.database, type(store.hints)())  # without the tail: from the log
            slow = await deaf.feed.follow(ANA, STREAM, "9", lambda: None)
            for follower in (half, live, late, slow):
                entries = [entry for _ in range(30) for entry in await follower.read(3)]
                if follower is half:
                    offsets += [entry.offset for entry in entries]
                assert entries[-1].offset == follower.after == 22
                firsts = [entry.first for entry in entries]
                assert firsts[1:] == [entry.offset + 1 for entry in entries[:-1]]
            assert offsets == list(range(1, 23))

    asyncio.run(scenario())
