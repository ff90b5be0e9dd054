"""What has ended comes to the cold tier whole and once, whatever fails and whenever."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from tests.events.past import ANA, LONG_AGO, STREAM
from tests.fakes.cold import FaultyHistory
from tests.fakes.models import says
from tests.fakes.ports import FaultyDatabase, ManualClock
from tests.history.feeding import SOON, Feeding, check_whole, feeding
from tests.history.keeping import ALWAYS, event, usage
from tests.world import ANA as WORLDS_ANA
from tests.world import world
from tidings.domain.context import SERVER
from tidings.domain.errors import NotFound
from tidings.domain.levels import SEND_TO_ACK
from tidings.domain.runs import Outcome
from tidings.domain.tiers import TierState
from tidings.events import erasures
from tidings.events.compaction import compact
from tidings.events.erasures import ERASED_AGAIN_SECONDS
from tidings.events.lineage import begin_epoch
from tidings.events.retention import HELD_SECONDS, Trimmed, trim
from tidings.health.metrics import Metrics
from tidings.history import ended, exporter, gathering
from tidings.history.exporter import REFUSED_AGAIN_SECONDS, SELDOM, SETTLED_SECONDS
from tidings.history.latencies import Latencies
from tidings.models.port import Usage
from tidings.router import threads
from tidings.runs.context import RunContext
from tidings.runs.outcomes import ModelAnswer
from tidings.storage.cold.records import Batch
from tidings.storage.warm.duties import Duty

DAY = 86_400.0


def test_a_run_comes_whole_when_its_end_has_settled(tmp_path: Path) -> None:
    async def scenario(at: Feeding) -> None:
        await at.told_run("r1")
        await at.past.open_run("r2")
        at.clock.time = LONG_AGO + SETTLED_SECONDS - 1
        await at.exporter.turn()
        assert await at.frames() == []
        at.clock.time = SOON
        await at.exporter.turn()
        found = await at.frames()
        assert [e.type for e in found] == [
            "message_received", "notice", "answer_delta", "agent_completed",
        ]  # fmt: skip
        assert found[2].payload["text"] == "0 1 2 "
        assert await at.marked() == 1
        before = at.cold.inserts
        await at.exporter.turn()
        assert at.cold.inserts == before

    feeding(tmp_path, scenario)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_an_insert_that_fails_is_made_again_and_nothing_is_there_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int, after: bool
) -> None:
    """A batch is sent in several inserts: the first, one in the middle, and the last fail."""
    monkeypatch.setattr(exporter, "EVENT_BYTES_PER_INSERT_MAX", 1_000)
    monkeypatch.setattr(exporter, "RUNS_PER_BATCH_MAX", 2)

    async def scenario(at: Feeding) -> None:
        for number in range(4):
            await at.told_run(f"r{number}")
        at.cold.fails, at.cold.after = (lambda n: n == nth), after
        await at.exporter.turn()
        assert await at.marked() in {0, 2}
        await compact(at.past.database, SOON, SOON)  # what is sent again may be stored otherwise
        await at.exporter.turn()
        await at.exporter.turn()
        check_whole(await at.frames(), 24)
        assert await at.counts() == {"completed": 4}
        assert await at.marked() == 4

    feeding(tmp_path, scenario)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_a_mark_that_fails_is_made_good_and_nothing_is_there_twice(
    tmp_path: Path, nth: int, after: bool
) -> None:
    async def scenario(at: Feeding) -> None:
        for number in range(3):
            await at.told_run(f"r{number}")
        faulty = FaultyDatabase(at.past.database, lambda n: n == nth, after=after)
        await at.an_exporter("w1", faulty).turn()
        await at.told_run("r3")
        await at.an_exporter("w1", faulty).turn()
        await at.exporter.turn()
        check_whole(await at.frames(), 24)
        assert await at.counts() == {"completed": 4}

    feeding(tmp_path, scenario)


def test_two_processes_at_once_bring_everything_once(tmp_path: Path) -> None:
    """One has the duty; it sleeps and wakes when the other has taken over: both insert the same."""

    async def scenario(at: Feeding) -> None:
        await at.told_run("r1")
        other = at.an_exporter("w2")
        await at.exporter.turn()
        await at.told_run("r2")
        await other.turn()
        assert await at.counts() == {"completed": 1}  # it is not its duty
        runs = await at.past.database.read(SERVER, lambda tx: ended.due(tx, SOON, 10))
        await at.exporter._insert(runs)
        at.clock.time += 1_000
        await other.turn()
        await at.exporter._bring(runs)
        check_whole(await at.frames(), 12)
        assert await at.counts() == {"completed": 2}

    feeding(tmp_path, scenario)


def test_f23_while_the_cold_tier_is_away_the_log_is_the_spool_and_nothing_is_lost(
    tmp_path: Path,
) -> None:
    async def scenario(at: Feeding) -> None:
        lost: list[int] = []
        at.past.hints.listen(Trimmed, lambda note: lost.append(note.lost))
        await at.told_run("r1")
        at.cold.fails = lambda _: True
        for _ in range(3):
            await at.exporter.turn()
        health = await at.exporter.health()
        assert health.state is TierState.DOWN
        assert "chats go on" in health.meaning
        await trim(at.past.database, LONG_AGO + HELD_SECONDS - 1)
        await at.told_run("r2")  # nobody waits for the cold tier
        assert len(await at.past.read(0)) == 12
        at.cold.fails = lambda _: False
        await at.exporter.turn()
        check_whole(await at.frames(), 12)
        assert (await at.exporter.health()).state is TierState.OK
        await trim(at.past.database, LONG_AGO + 1)
        assert (await at.past.locate("0")).after == 12
        assert sum(lost) == 0

    feeding(tmp_path, scenario)


def test_f23_what_waits_too_long_is_let_go_of_and_counted_and_its_end_is_kept(
    tmp_path: Path,
) -> None:
    async def scenario(at: Feeding) -> None:
        lost: list[int] = []
        at.past.hints.listen(Trimmed, lambda note: lost.append(note.lost))
        await at.told_run("r1")
        await trim(at.past.database, LONG_AGO + HELD_SECONDS)
        assert lost == []
        await trim(at.past.database, LONG_AGO + HELD_SECONDS + 1)
        assert lost == [4]  # a notice and three pieces
        await at.exporter.turn()
        assert [e.type for e in await at.frames()] == ["message_received", "agent_completed"]
        assert await at.counts() == {"completed": 1}
        page = await at.history.page(ANA, "t1", None, 100)
        assert (len(page["events"]), page["missing"]) == (2, 4)

    feeding(tmp_path, scenario)


def test_a_run_that_is_refused_stays_in_the_log_and_holds_nobody_up(tmp_path: Path) -> None:
    async def scenario(at: Feeding) -> None:
        for name in ("r1", "r2", "r3"):
            await at.told_run(name)
        at.cold.refuses = lambda batch: any(run.run_id == "r2" for run in batch.runs)
        await at.exporter.turn()
        assert await at.counts() == {"completed": 2}
        assert at.metrics.refused._value.get() == 1
        asked = at.cold.inserts
        await at.exporter.turn()
        assert at.cold.inserts == asked
        at.cold.refuses = lambda _: False
        at.clock.time += REFUSED_AGAIN_SECONDS + 1
        await at.exporter.turn()
        assert await at.counts() == {"completed": 3}
        check_whole(await at.frames(), 18)

    feeding(tmp_path, scenario)


def test_a_run_that_cannot_be_read_is_put_off_and_the_exporter_lives(tmp_path: Path) -> None:
    async def scenario(at: Feeding) -> None:
        await at.told_run("r1")
        await at.past.database.write(
            SERVER,
            lambda tx: tx.execute(
                "insert into steps (run_id, key, kind, emitted, result)"
                " values ('r1', '1.model', 'model', '[]', ?)",
                b'{"usage": 7}',
            ),
        )
        await at.exporter.turn()
        assert await at.counts() == {}
        assert at.metrics.refused._value.get() == 1

    feeding(tmp_path, scenario)


def test_a_deleted_thread_is_erased_also_what_was_on_its_way(tmp_path: Path) -> None:
    async def scenario(at: Feeding) -> None:
        await at.told_run("r1")
        await at.exporter.turn()
        await at.past.database.write(ANA, lambda tx: threads.delete(tx, ANA, "t1"))
        await at.exporter.turn()
        assert (await at.frames(), await at.counts()) == ([], {})
        await at.cold.insert(Batch(events=(event(1),)))
        assert len(await at.cold.events(SERVER, "t1", 100, 10)) == 1
        at.clock.time += ERASED_AGAIN_SECONDS + 1
        await at.exporter.turn()
        assert await at.frames() == []
        assert await at.past.rows("select 1 from erasures") == []
        with pytest.raises(NotFound):
            await at.history.page(ANA, "t1", None, 10)

    feeding(tmp_path, scenario)


def test_a_deleted_user_is_erased_also_what_was_on_its_way(tmp_path: Path) -> None:
    async def scenario(at: Feeding) -> None:
        await at.told_run("r1")
        await at.exporter.turn()
        await at.past.database.write(SERVER, lambda tx: erasures.note_user(tx, ANA.user_id))
        await at.exporter.turn()
        assert (await at.frames(), await at.counts()) == ([], {})
        await at.cold.insert(Batch(events=(event(1),)))
        at.clock.time += ERASED_AGAIN_SECONDS + 1
        await at.exporter.turn()
        assert await at.frames() == []
        assert await at.past.rows("select 1 from erasures") == []

    feeding(tmp_path, scenario)


def test_a_thread_deleted_between_insert_and_mark_is_erased(tmp_path: Path) -> None:
    async def scenario(at: Feeding) -> None:
        await at.told_run("r1")
        runs = await at.past.database.read(SERVER, lambda tx: ended.due(tx, SOON, 10))
        await at.past.database.write(ANA, lambda tx: threads.delete(tx, ANA, "t1"))
        await at.exporter.turn()
        at.clock.time += ERASED_AGAIN_SECONDS + 1
        await at.exporter.turn()
        await at.exporter._insert([run._replace() for run in runs])
        await at.past.database.write(SERVER, lambda tx: ended.exported(tx, runs, at.clock.time))
        await at.exporter.turn()
        assert await at.counts() == {}

    feeding(tmp_path, scenario)


def test_the_embedded_store_is_fed_seldom(tmp_path: Path) -> None:
    """So that its child does not have to be there all the time."""

    async def scenario(at: Feeding) -> None:
        seldom = at.an_exporter("w1", wait_seconds=SELDOM.wait_seconds, runs=3)
        latencies = Latencies(at.cold, at.levels, "w1", at.clock, SELDOM)
        await at.told_run("r1", at=SOON)
        at.levels.saw(SEND_TO_ACK, 0.1)
        at.clock.time = SOON + SELDOM.wait_seconds - 1
        await seldom.turn()
        await latencies.turn()
        assert at.cold.inserts == 0
        at.clock.time += 61
        await seldom.turn()
        await latencies.turn()
        assert await at.counts() == {"completed": 1}
        assert [line.count for line in await at.cold.latencies(SERVER, ALWAYS)] == [1]
        for name in ("r2", "r3", "r4"):
            await at.told_run(name, at=at.clock.time - SETTLED_SECONDS)
        await seldom.turn()
        assert await at.counts() == {"completed": 4}

    feeding(tmp_path, scenario)


def test_latencies_are_kept_once_and_not_lost_while_the_store_is_away(tmp_path: Path) -> None:
    async def scenario(at: Feeding) -> None:
        at.levels.saw(SEND_TO_ACK, 0.1)
        await at.latencies.turn()
        assert at.cold.inserts == 0  # the minute is not over
        at.clock.time += 60
        at.cold.fails, at.cold.after = (lambda _: True), True
        await at.latencies.turn()
        at.cold.fails = lambda _: False
        await at.latencies.turn()
        await at.latencies.turn()
        assert [line.count for line in await at.cold.latencies(SERVER, ALWAYS)] == [1]
        assert at.cold.inserts == 2

    feeding(tmp_path, scenario)


def test_an_end_that_a_device_has_acknowledged_counts_as_delivered(tmp_path: Path) -> None:
    async def scenario(at: Feeding) -> None:
        await at.told_run("r1")
        await at.told_run("r2")
        await at.past.database.write(
            SERVER,
            lambda tx: tx.execute("insert into positions values ('ana', 'd1', ?, 6, 1.0)", STREAM),
        )
        await at.exporter.turn()
        (line,) = await at.cold.runs(ANA, ALWAYS)
        assert (line.runs, line.delivered) == (2, 1)

    feeding(tmp_path, scenario)


def test_after_older_data_came_back_threads_that_are_no_more_leave_the_history(
    tmp_path: Path,
) -> None:
    async def scenario(at: Feeding) -> None:
        await at.told_run("r1")
        await at.exporter.turn()
        kept_at = at.clock.now() + 10
        gone = [event(n, "t9", exported_at=kept_at) for n in (1, 2)]
        await at.cold.insert(Batch(tuple(gone), (usage("r_t9", exported_at=kept_at),)))
        await at.exporter.turn()
        assert len(await at.cold.story(SERVER, "t9", 0)) == 2  # nobody has put anything back
        at.clock.time += 100
        now = at.clock.now()
        await at.past.database.write(SERVER, lambda tx: begin_epoch(tx, "e2", "restored", 2, now))
        await at.exporter.turn()
        assert await at.cold.story(SERVER, "t9", 0) == []
        check_whole(await at.frames(), 6)
        assert len(await at.cold.usage(SERVER, ALWAYS)) == 1  # it was spent
        asked = at.cold.asked_since
        at.clock.time += 1
        await at.told_run("r2")
        await at.an_exporter("w1").turn()
        await at.an_exporter("w1").turn()
        assert at.cold.asked_since == asked + 1  # not once this epoch has exported

    feeding(tmp_path, scenario)


def test_old_days_leave_the_cold_tier_by_policy(tmp_path: Path) -> None:
    async def scenario(at: Feeding) -> None:
        await at.told_run("r1")
        at.clock.time = LONG_AGO + 10 * DAY
        keeping = at.an_exporter("w1", keep_seconds=30 * DAY)
        await keeping.turn()
        assert len(await at.frames()) == 4
        at.clock.time = LONG_AGO + 40 * DAY
        await keeping.turn()
        assert await at.frames() == []
        assert await at.counts() == {"completed": 1}

    feeding(tmp_path, scenario)


def test_usage_is_what_the_journal_says_by_model(tmp_path: Path) -> None:
    async def agent(ctx: RunContext) -> Outcome:
        await ctx.model(says("one two three"))
        reply = await ctx.model(says("four"))
        return Outcome(reply.text)

    async def whole() -> None:
        cold = FaultyHistory(tmp_path / "cold")
        async with world(tmp_path, {"agent": agent}) as w:
            await w.begin()
            async with w.working():
                await w.events_until_end(await w.ask("hello"))
            clock, metrics = ManualClock(w.clock.now() + 100), Metrics().history
            duty = Duty(w.database, clock, "history", "w1", 30.0)
            feeder = exporter.Exporter(w.database, cold, duty, clock, metrics, exporter.STEADY)
            await feeder.turn()
            (line,) = await cold.usage(WORLDS_ANA, ALWAYS)
            assert (line.model, line.requests, line.unpriced) == ("test:scripted", 2, 0)
            assert (line.input_tokens, line.output_tokens) == (20, 4)
            assert line.cost_usd == pytest.approx(0.002)
            (run,) = await cold.runs(WORLDS_ANA, ALWAYS)
            assert (run.agent, run.outcome, run.runs) == ("agent", "completed", 1)
        await cold.close()

    asyncio.run(whole())


def test_a_request_that_failed_is_counted_for_no_model() -> None:
    step = msgspec.json.encode(ModelAnswer(None, usage=Usage(7, 1, None)))
    asked = msgspec.json.decode(step, type=gathering._Asked)
    assert (asked.model, asked.used) == (gathering.UNKNOWN_MODEL, Usage(7, 1, None))
