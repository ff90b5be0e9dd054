"""What the feed takes from hints of other processes, and what it does not."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from tests.world import ANA, World, world
from tidings.domain.events import user_stream
from tidings.domain.runs import Outcome
from tidings.events import feed
from tidings.events.feed import Follower, Tail
from tidings.events.log import Appended, Place
from tidings.events.ranges import Entry
from tidings.runs.context import RunContext
from tidings.storage.hot.memory import LocalHints
from tidings.storage.hot.port import HintsMissed

STREAM = user_stream(ANA.user_id)


def note(*offsets: int, epoch: str = "k3f9ab") -> Appended:
    entries = [Entry(offset, b"frame %d" % offset, offset) for offset in offsets]
    return Appended(ANA.user_id, STREAM, epoch, offsets[-1], entries)


def test_a_hint_of_another_history_changes_nothing() -> None:
    tail = Tail()
    tail.found(Place("k3f9ab", 0, 2))
    tail.hint(note(3, 4, epoch="other1"))
    assert tail.head == 2
    tail.hint(note(3))
    assert (tail.head, tail.after(2, 10)) == (3, [Entry(3, b"frame 3", 3)])


def test_a_hint_that_came_before_the_log_was_read_goes_if_the_log_has_another_history() -> None:
    tail = Tail()
    tail.hint(note(8, 9, epoch="other1"))
    tail.found(Place("k3f9ab", 0, 2))
    assert (tail.head, tail.after(0, 10)) == (2, None)


def test_a_hint_without_its_entries_wakes_and_the_log_is_read() -> None:
    tail = Tail()
    tail.found(Place("k3f9ab", 0, 2))
    tail.hint(note(3).brief())
    assert (tail.head, tail.after(2, 10)) == (3, None)
    tail.hint(note(5))
    tail.hint(note(4))
    assert tail.after(3, 10) is None
    assert tail.after(4, 10) == [Entry(5, b"frame 5", 5)]


def test_what_was_missed_is_looked_for_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "POLL_SECONDS", 3_600.0)

    class Deaf(LocalHints):
        """Hears nothing of what is committed elsewhere, as when the hot tier was away."""

        def publish(self, note: object) -> None:
            if not isinstance(note, Appended):
                super().publish(note)

    async def scenario(w: World, hints: LocalHints) -> None:
        await w.begin()
        woken = asyncio.Event()
        follower: Follower = await w.feed.follow(ANA, STREAM, "0", woken.set)
        receipt = await w.ask("hello")
        assert receipt.run_id
        assert not woken.is_set()
        async with w.working():
            hints.publish(HintsMissed())
            async with asyncio.timeout(60):
                await woken.wait()
        assert await follower.read()
        follower.close()

    async def answers(_: RunContext) -> Outcome:
        return Outcome("hello")

    async def whole() -> None:
        hints = Deaf()
        async with world(tmp_path, {"somebody": answers}, hints=hints) as w:
            await scenario(w, hints)

    asyncio.run(whole())


def test_an_appended_note_survives_its_way() -> None:
    sent = note(1, 2)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=Appended) == sent
