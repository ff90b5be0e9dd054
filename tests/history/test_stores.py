"""What every cold store promises, shown by each of them on its real engine."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.harness.clickhouse import ClickHouseDouble
from tests.history.keeping import (
    ALWAYS,
    ANA,
    BOB,
    DAY,
    Story,
    event,
    events,
    latency,
    offsets,
    run,
    usage,
    with_store,
)
from tidings.domain.context import SERVER, UserContext
from tidings.domain.levels import BUCKET_BOUNDS, SEND_TO_ACK
from tidings.storage.cold.clickhouse import ClickHouseHistory
from tidings.storage.cold.parquet import ParquetHistory
from tidings.storage.cold.port import ColdStore, Days, Erasure, LatencyLine
from tidings.storage.cold.records import Batch

Told = Callable[[Story], None]


@pytest.fixture(params=["parquet", "clickhouse"])
def told(request: pytest.FixtureRequest, tmp_path: Path) -> Told:
    """Return what tells a story with one of the stores, empty."""

    def tell(story: Story) -> None:
        store: ColdStore = ParquetHistory(tmp_path / "cold")
        if request.param == "clickhouse":
            double: ClickHouseDouble = request.getfixturevalue("clickhouse")
            store = ClickHouseHistory(double.url)
        with_store(store, story)

    return tell


def test_events_come_back_as_they_were_newest_first(told: Told) -> None:
    async def story(store: ColdStore) -> None:
        await store.insert(events(1, 2, 3, 4, 5))
        page = await store.events(ANA, "t1", 5, 2)
        assert [(found.first, found.last) for found in page] == [(4, 4), (3, 3)]
        assert page[0].frame == event(4).frame
        assert await offsets(store, before=1) == []

    told(story)


def test_what_is_sent_again_is_there_once(told: Told) -> None:
    """Whole, in part, and overlapping, as after a crash between the insert and the note of it."""

    async def story(store: ColdStore) -> None:
        whole = Batch(events(1, 2, 3).events, (usage(),), (latency(3, 7),), (run(), run("r2")))
        for batch in (whole, whole, events(2, 3, 4), Batch(usage=(usage(), usage("r2")))):
            await store.insert(batch)
        assert await offsets(store) == [4, 3, 2, 1]
        (line,) = await store.usage(ANA, ALWAYS)
        assert (line.requests, line.input_tokens, line.cost_usd) == (4, 200, 0.5)
        (ended,) = await store.runs(ANA, ALWAYS)
        assert (ended.runs, sum(ended.seconds)) == (2, 2)
        assert await store.latencies(SERVER, ALWAYS) == [LatencyLine(SEND_TO_ACK, 3, 7)]

    told(story)


def test_of_two_versions_of_a_run_the_newer_counts(told: Told) -> None:
    async def story(store: ColdStore) -> None:
        await store.insert(Batch(runs=(run(delivered=0, exported_at=1.0),)))
        await store.insert(Batch(runs=(run(delivered=1, exported_at=2.0),)))
        (ended,) = await store.runs(ANA, ALWAYS)
        assert (ended.runs, ended.delivered) == (1, 1)

    told(story)


def test_nobody_is_answered_with_records_of_another(told: Told) -> None:
    async def story(store: ColdStore) -> None:
        for user in ("ana", "bob"):
            await store.insert(
                Batch(
                    events(1, 2, thread=f"t_{user}", user=user).events,
                    (usage(f"r_{user}", user),),
                    (),
                    (run(f"r_{user}", user),),
                )
            )
        assert await store.events(ANA, "t_bob", 100, 10) == []
        assert await store.story(ANA, "t_bob", 0) == []
        assert await store.story(ANA, "r_t_bob", 0) == []
        assert [line.user_id for line in await store.usage(ANA, ALWAYS)] == ["ana"]
        assert [line.user_id for line in await store.usage(BOB, ALWAYS)] == ["bob"]
        assert [line.runs for line in await store.runs(BOB, ALWAYS)] == [1]
        namesake = UserContext("other", "ana", "s9")
        assert await store.events(namesake, "t_ana", 100, 10) == []
        assert len(await store.usage(SERVER, ALWAYS)) == 2
        assert len(await store.story(SERVER, "r_t_bob", 1)) == 1

    told(story)


def test_what_a_user_writes_is_a_value_and_never_a_statement(told: Told) -> None:
    async def story(store: ColdStore) -> None:
        await store.insert(events(1))
        for hostile in ("' or 1=1 --", "t1' union select 1,1,'x", "{user:String}", ":user", "\\"):
            assert await store.events(ANA, hostile, 100, 10) == []
            assert await store.story(ANA, hostile, 0) == []
            await store.erase([Erasure("ana", hostile), Erasure(hostile, "t1")])
        assert await offsets(store) == [1]

    told(story)


def test_of_a_run_that_ended_twice_the_last_export_counts(told: Told) -> None:
    async def story(store: ColdStore) -> None:
        await store.insert(events(1, 2, 3, 4))  # a day of one life, of which a backup has half
        again = [event(n, exported_at=2.5, event_id=f"e_again_{n}") for n in (3, 4, 5)]
        again += [event(n, exported_at=2.5) for n in (1, 2)]
        await store.insert(Batch(events=tuple(again)))
        assert await offsets(store) == [5, 4, 3, 2, 1]
        assert await offsets(store, before=4) == [3, 2, 1]
        for named in ("t1", "r_t1"):
            assert [e.last for e in await store.story(SERVER, named, 2)] == [3, 4, 5]

    told(story)


def test_what_was_kept_since_a_time_is_told_by_thread(told: Told) -> None:
    async def story(store: ColdStore) -> None:
        for thread, times in {"t1": (10.25, 40.5), "t2": (20.25,), "t3": (30.5,)}.items():
            kept = [event(n, thread, exported_at=at) for n, at in enumerate(times, 1)]
            await store.insert(Batch(events=tuple(kept)))
        everything = [("ana", "t2", 20.25), ("ana", "t3", 30.5), ("ana", "t1", 40.5)]
        for since, found in ((0.0, everything), (20.25, everything), (20.5, everything[1:])):
            told_of = [(k.user_id, k.thread_id, k.newest) for k in await store.kept(SERVER, since)]
            assert told_of == found
        assert await store.kept(SERVER, 41.0) == []

    told(story)


def test_usage_is_added_up_by_day_user_and_model(told: Told) -> None:
    async def story(store: ColdStore) -> None:
        await store.insert(
            Batch(
                usage=(
                    usage("r1"),
                    usage("r1", model="m:small", cost_usd=0.0, unpriced=2),
                    usage("r2", cost_usd=0.5),
                    usage("r3", day="2026-11-21"),
                    usage("r4", "bob"),
                )
            )
        )
        lines = await store.usage(SERVER, ALWAYS)
        assert [(x.day, x.user_id, x.model, x.requests, x.cost_usd, x.unpriced) for x in lines] == [
            ("2026-11-20", "ana", "m:large", 4, 0.75, 0),
            ("2026-11-20", "ana", "m:small", 2, 0.0, 2),
            ("2026-11-20", "bob", "m:large", 2, 0.25, 0),
            ("2026-11-21", "ana", "m:large", 2, 0.25, 0),
        ]
        assert len(await store.usage(SERVER, Days("2026-11-21", "2026-11-21"))) == 1
        assert await store.usage(SERVER, Days("2026-11-22", "2026-11-30")) == []

    told(story)


def test_runs_are_counted_by_agent_and_outcome_in_buckets_of_their_time(told: Told) -> None:
    async def story(store: ColdStore) -> None:
        await store.insert(
            Batch(
                runs=(
                    run("r1", seconds=0.0, quality=0.5),
                    run("r2", seconds=BUCKET_BOUNDS[0], quality=1.0, delivered=0),
                    run("r3", seconds=BUCKET_BOUNDS[-1] * 10),
                    run("r4", outcome="failed"),
                )
            )
        )
        completed, failed = await store.runs(SERVER, ALWAYS)
        assert (completed.runs, completed.delivered) == (3, 2)
        assert (completed.rated, completed.quality) == (2, 0.75)
        assert completed.seconds == [2, *[0] * (len(BUCKET_BOUNDS) - 1), 1]
        assert (failed.outcome, failed.runs, failed.quality) == ("failed", 1, None)

    told(story)


def test_latencies_are_added_up_over_servers_and_minutes(told: Told) -> None:
    async def story(store: ColdStore) -> None:
        minutes = [latency(2, 5), latency(2, 6, server="k2"), latency(2, 7, minute=29_000_001)]
        await store.insert(Batch(latencies=(*minutes, latency(4, 1))))
        assert await store.latencies(SERVER, ALWAYS) == [
            LatencyLine(SEND_TO_ACK, 2, 18),
            LatencyLine(SEND_TO_ACK, 4, 1),
        ]

    told(story)


def test_an_erased_thread_is_gone_and_what_it_cost_stays(told: Told) -> None:
    async def story(store: ColdStore) -> None:
        mine = Batch(events(1, 2).events, (usage(),), (), (run(),))
        await store.insert(mine)
        await store.insert(events(1, thread="t2"))
        await store.insert(events(1, thread="t3", user="bob"))
        await store.erase([Erasure("ana", "t1"), Erasure("ana", "t3")])
        assert await offsets(store, "t1") == []
        assert await offsets(store, "t2") == [1]
        assert len(await store.events(BOB, "t3", 10, 10)) == 1  # it was not Ana's to erase
        assert await store.runs(ANA, ALWAYS) == []
        assert len(await store.usage(ANA, ALWAYS)) == 1
        await store.erase([Erasure("ana", "t1")])

    told(story)


def test_of_an_erased_user_nothing_stays_and_of_others_everything(told: Told) -> None:
    async def story(store: ColdStore) -> None:
        for user in ("ana", "bob"):
            kept = events(1, 2, thread=f"t-{user}", user=user).events
            await store.insert(Batch(kept, (usage(user=user),), (), (run(f"r-{user}", user),)))
        await store.erase([Erasure("ana", None), Erasure("carl", None)])
        assert await store.events(SERVER, "t-ana", 10, 10) == []
        assert [line.user_id for line in await store.usage(SERVER, ALWAYS)] == ["bob"]
        assert [line.runs for line in await store.runs(SERVER, ALWAYS)] == [1]
        assert len(await store.events(BOB, "t-bob", 10, 10)) == 2

    told(story)


def test_old_days_are_forgotten_with_their_events_alone(told: Told) -> None:
    async def story(store: ColdStore) -> None:
        old = msgspec.structs.replace(event(1), day="2026-10-01")
        await store.insert(Batch((old, event(2)), (usage(day="2026-10-01"),)))
        await store.forget(DAY)
        assert await offsets(store) == [2]
        assert len(await store.usage(ANA, ALWAYS)) == 1

    told(story)


def test_an_empty_store_answers_everything_with_nothing(told: Told) -> None:
    async def story(store: ColdStore) -> None:
        assert await store.check()
        assert await offsets(store) == []
        assert await store.story(SERVER, "t1", 0) == []
        assert await store.kept(SERVER, 0.0) == []
        assert await store.usage(SERVER, ALWAYS) == []
        assert await store.runs(SERVER, ALWAYS) == []
        assert await store.latencies(SERVER, ALWAYS) == []
        await store.erase([Erasure("ana", "t1")])
        await store.forget(DAY)
        await store.tidy()

    told(story)


def test_many_small_batches_are_tidied_and_nothing_changes(told: Told) -> None:
    async def story(store: ColdStore) -> None:
        for number in range(1, 21):
            await store.insert(events(number, number + 1))
        await store.tidy()
        await store.insert(events(20, 21))
        assert await offsets(store) == list(range(21, 0, -1))

    told(story)
