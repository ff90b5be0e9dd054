"""What users are shown of the past: all of it, once, and only their own."""

from pathlib import Path

import msgspec
import pytest

from tests.events.past import ANA, LONG_AGO
from tests.history.feeding import SOON, Feeding, check_whole, feeding, texts
from tests.history.keeping import event
from tidings.domain.context import UserContext
from tidings.domain.errors import NotFound, Unavailable
from tidings.domain.events import Event
from tidings.events import compaction
from tidings.events.compaction import compact
from tidings.events.retention import trim
from tidings.storage.cold.records import Batch

BOB = UserContext("default", "bob", "s2")
LATER = LONG_AGO + 1_000.0


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
def test_pages_back_to_the_beginning_have_every_offset_once(tmp_path: Path, limit: int) -> None:
    """Old runs in the cold tier alone, newer in both, the newest in the log alone."""

    async def scenario(at: Feeding) -> None:
        for number in range(3):
            await at.told_run(f"r{number}", pieces=5)
        await at.told_run("r3", at=LATER)
        told = texts(await at.past.read(0))
        at.clock.time = LATER + 60
        await at.exporter.turn()
        for joined, before in ((LONG_AGO, 0.0), (LATER, 0.0), (LATER, LATER)):
            await compact(at.past.database, joined + 1, LATER)
            await trim(at.past.database, before)
            events = await at.pages(limit)
            check_whole(events, 8 * 3 + 6)
            assert texts(events) == told
        await at.past.open_run("r4", at=LATER)
        check_whole(await at.pages(limit), 8 * 3 + 7)

    feeding(tmp_path, scenario)


def test_an_answer_is_never_cut_between_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while it is joined between one page and the next, in several batches."""
    monkeypatch.setattr(compaction, "PIECES_PER_BATCH_MAX", 4)

    async def scenario(at: Feeding) -> None:
        await at.told_run("r1", pieces=30)
        newest = await at.history.page(ANA, "t1", None, 5)
        await compact(at.past.database, SOON, SOON)
        older = await at.history.page(ANA, "t1", newest["before"], 5)
        events = [
            msgspec.json.decode(frame, type=Event) for frame in older["events"] + newest["events"]
        ]
        check_whole(events, 33)

    feeding(tmp_path, scenario)


def test_a_page_is_the_owners_alone(tmp_path: Path) -> None:
    async def scenario(at: Feeding) -> None:
        await at.told_run("r1")
        await at.exporter.turn()
        await trim(at.past.database, SOON)
        assert len((await at.history.page(ANA, "t1", None, 10))["events"]) == 4
        for user, thread in ((BOB, "t1"), (ANA, "t9")):
            with pytest.raises(NotFound):
                await at.history.page(user, thread, None, 10)
        assert (await at.history.usage(BOB, 400))["days"] == []

    feeding(tmp_path, scenario)


def test_without_the_cold_tier_the_log_is_shown_as_far_as_it_goes(tmp_path: Path) -> None:
    async def scenario(at: Feeding) -> None:
        await at.told_run("r1")
        await at.told_run("r2", at=LATER)
        at.clock.time = LATER + 60
        await at.exporter.turn()
        await trim(at.past.database, LATER)
        (part,) = (at.folder / "cold" / "events").glob("*/*")
        part.write_bytes(b"not what it was")
        page = await at.history.page(ANA, "t1", None, 100)
        assert (len(page["events"]), page["before"], page["missing"]) == (4, 7, 0)
        with pytest.raises(Unavailable) as refusal:
            await at.history.page(ANA, "t1", 7, 100)
        assert refusal.value.code == "cold_unavailable"

    feeding(tmp_path, scenario)


def test_a_replay_has_what_the_log_has_let_go_of(tmp_path: Path) -> None:
    async def scenario(at: Feeding) -> None:
        await at.told_run("r1")
        await at.told_run("r2", at=LATER)
        at.clock.time = LATER + 60
        await at.exporter.turn()
        await trim(at.past.database, LATER)
        frames = await at.history.story("t1")
        check_whole([msgspec.json.decode(f, type=Event) for f in await at.history.story("r1")], 6)
        assert texts([msgspec.json.decode(frame, type=Event) for frame in frames]) == texts(
            await at.frames()
        )
        assert await at.history.story("t9") == []

    feeding(tmp_path, scenario)


def test_runs_that_a_restore_has_lost_are_not_shown_again(tmp_path: Path) -> None:
    """Others have taken their offsets since."""

    async def scenario(at: Feeding) -> None:
        await at.told_run("r1")
        lost = Event("notice", "e_lost", "thread:t1", "old", 5, "1970-01-12T13:46:40Z", run_id="r0")
        kept = event(5, tenant_id="default", frame=msgspec.json.encode(lost).decode())
        await at.cold.insert(Batch(events=(kept,)))
        await at.exporter.turn()
        await trim(at.past.database, SOON)
        check_whole(await at.pages(100), 6)

    feeding(tmp_path, scenario)


def test_a_past_that_is_no_more_hides_nothing_behind_it(tmp_path: Path) -> None:
    """Pages of nothing but such runs are looked past."""

    async def scenario(at: Feeding) -> None:
        await at.told_run("r1")
        await at.exporter.turn()
        lost = [
            Event("notice", f"e_{n}", "thread:t1", "old", n, "", run_id="r0") for n in (7, 8, 9)
        ]
        kept = [
            event(e.offset, run_id="r0", tenant_id="default", frame=msgspec.json.encode(e).decode())
            for e in lost
        ]
        await at.cold.insert(Batch(events=tuple(kept)))
        await at.told_run("r2", at=LATER)
        await trim(at.past.database, SOON)
        assert len(await at.cold.events(ANA, "t1", 100, 100)) == 4 + 3  # pieces are one there
        check_whole(await at.pages(2), 12)

    feeding(tmp_path, scenario)
