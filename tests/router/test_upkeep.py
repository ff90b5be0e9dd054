"""Upkeep: the policy is carried out as time goes by, and nothing else is touched."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.events.past import LONG_AGO, STREAM, THREAD, Past, past
from tests.fakes.ports import CountingIds, FaultyDatabase, ManualClock
from tidings.domain.context import SERVER
from tidings.domain.events import EventType
from tidings.events import compaction
from tidings.events.lineage import Lineage
from tidings.router import upkeep
from tidings.router.upkeep import COMMANDS, POSITIONS, SESSIONS, STEPS, Policy, Upkeep
from tidings.storage.marks import MARK_FILE
from tidings.storage.warm.duties import Duty
from tidings.storage.warm.port import Database

DAY = 86_400.0


class SweptUploads:
    """A fake of where uploads are kept: remembers until when it was swept."""

    def __init__(self) -> None:
        self.swept: list[float] = []

    async def sweep(self, before: float) -> int:
        self.swept.append(before)
        return 0


class Kept:
    """A store with its upkeep, and the time in the test's hand."""

    def __init__(self, store: Past, folder: Path, policy: Policy) -> None:
        self.store = store
        self.clock = ManualClock(LONG_AGO)
        self.lineage = Lineage(store.database, self.clock, CountingIds(), folder)
        self.uploads = SweptUploads()
        self.upkeep = self.kept_by("w_1", store.database, policy)

    def kept_by(self, owner: str, database: Database, policy: Policy) -> Upkeep:
        duty = Duty(database, self.clock, "upkeep", owner, upkeep.DUTY_SECONDS)
        return Upkeep(database, duty, self.lineage, self.uploads, self.clock, policy)

    async def after(self, seconds: float) -> None:
        """Let so much time go by, and everything be done that is due then."""
        self.clock.time = LONG_AGO + seconds
        await self.upkeep.turn()

    async def count(self, sql: str) -> int:
        return len(await self.store.rows(sql))

    async def kept_from(self) -> int:
        ((first,),) = await self.store.rows(
            "select first_offset from streams where stream = ?", STREAM
        )
        return int(first)


def run(
    folder: Path, scenario: Callable[[Kept], Awaitable[None]], policy: Policy | None = None
) -> None:
    async def whole() -> None:
        async with past(folder) as store:
            kept = Kept(store, folder, policy or Policy())
            await kept.lineage.begin()
            await store.open_run("r1")
            told = [
                (EventType.ANSWER_DELTA, {"message_id": "m", "text": text}) for text in ("a", "b")
            ]
            await store.append("r1", *told)
            await store.end_run("r1")
            await fill(store)
            await scenario(kept)

    asyncio.run(whole())


async def fill(store: Past) -> None:
    """Put one row of everything that goes stale into the store."""
    statements = [
        "insert into steps values ('r1', 'k1', 'tool', '[]', null)",
        "insert into steps values ('r1', 'k2', 'tool', '[]', null)",
        f"insert into commands values ('ana', 'c1', 'h', '{{}}', {LONG_AGO})",
        f"insert into positions values ('ana', 'd1', '{STREAM}', 4, {LONG_AGO})",
        "insert into users (user_id, tenant_id, name, password_hash, created_at)"
        " values ('ana', 'default', 'ana', '', 0)",
        f"insert into sessions values ('s1', 'ana', {LONG_AGO}, {LONG_AGO + 30 * DAY}, 0)",
        "insert into refresh_tokens values ('spent', 's1', 1)",
        "insert into refresh_tokens values ('fresh', 's1', 0)",
    ]
    for statement in statements:
        await store.database.write(SERVER, lambda tx, sql=statement: tx.execute(sql))  # type: ignore[misc]


def test_answers_are_joined_an_hour_after_the_end(tmp_path: Path) -> None:
    async def scenario(kept: Kept) -> None:
        await kept.after(3600)
        assert len(await kept.store.read(0)) == 4
        await kept.after(3601)
        assert len(await kept.store.read(0)) == 3

    run(tmp_path, scenario)


def test_one_turn_joins_all_that_is_due_however_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "RUNS_PER_PASS_MAX", 2)
    monkeypatch.setattr(compaction, "RUNS_PER_PASS_MAX", 2)

    async def scenario(kept: Kept) -> None:
        for number in range(5):
            await kept.store.whole_run(f"r{number + 2}")
        await kept.after(3601)
        assert await kept.count("select 1 from runs where compacted_at is null") == 0

    run(tmp_path, scenario)


def test_without_a_policy_events_and_steps_are_kept_for_ever(tmp_path: Path) -> None:
    async def scenario(kept: Kept) -> None:
        await kept.after(10_000 * DAY)
        assert await kept.kept_from() == 1
        assert await kept.count("select 1 from steps") == 2

    run(tmp_path, scenario)


def test_a_policy_of_days_is_kept_to_the_day(tmp_path: Path) -> None:
    async def scenario(kept: Kept) -> None:
        await kept.after(30 * DAY)
        assert (await kept.kept_from(), await kept.count("select 1 from steps")) == (1, 2)
        await kept.after(30 * DAY + 3600)
        assert (await kept.kept_from(), await kept.count("select 1 from steps")) == (5, 0)
        assert await kept.count(f"select 1 from runs where thread_id = '{THREAD}'") == 1

    run(tmp_path, scenario, Policy(keep=30 * DAY))


@pytest.mark.parametrize(
    ("table", "days", "rows"),
    [("commands", 30, 1), ("positions", 400, 1), ("sessions", 31, 1), ("refresh_tokens", 31, 2)],
)
def test_what_nobody_needs_any_more_is_forgotten_in_its_time(
    tmp_path: Path, table: str, days: int, rows: int
) -> None:
    async def scenario(kept: Kept) -> None:
        await kept.after(7 * DAY)
        await kept.after(days * DAY)
        assert await kept.count(f"select 1 from {table}") == rows
        await kept.after(days * DAY + 3600)
        assert await kept.count(f"select 1 from {table}") == 0

    run(tmp_path, scenario)


def test_a_long_list_is_forgotten_in_bounded_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "SWEPT_ROWS_PER_BATCH_MAX", 10)

    async def scenario(kept: Kept) -> None:
        rows = [("ana", f"n{number}", "h", "{}", LONG_AGO) for number in range(34)]
        await kept.store.database.write(
            SERVER, lambda tx: tx.execute_many("insert into commands values (?, ?, ?, ?, ?)", rows)
        )
        counting = FaultyDatabase(kept.store.database, lambda _: False, after=False)
        await kept.kept_by("w_1", counting, Policy())._forget(COMMANDS, LONG_AGO + 1)
        assert await kept.count("select 1 from commands") == 0
        assert counting.writes == 4

    run(tmp_path, scenario)


@pytest.mark.parametrize("stale", [STEPS, COMMANDS, POSITIONS, SESSIONS])
def test_what_is_not_old_is_not_found(tmp_path: Path, stale: upkeep.Stale) -> None:
    async def scenario(kept: Kept) -> None:
        database = kept.store.database
        assert await database.read(SERVER, lambda tx: upkeep._find(tx, stale, LONG_AGO)) == []
        late = LONG_AGO + 31 * DAY
        assert await database.read(SERVER, lambda tx: upkeep._find(tx, stale, late)) != []

    run(tmp_path, scenario)


def test_a_turn_that_failed_is_made_up_for_in_the_next(tmp_path: Path) -> None:
    async def scenario(kept: Kept) -> None:
        kept.clock.time = LONG_AGO + 31 * DAY
        failing = FaultyDatabase(kept.store.database, lambda n: n == 3, after=False)
        unlucky = kept.kept_by("w_1", failing, Policy(keep=30 * DAY))
        await unlucky.turn()
        assert await kept.count("select 1 from commands") == 1
        await unlucky.turn()
        assert await kept.kept_from() == 5
        assert await kept.count("select 1 from commands") == 0

    run(tmp_path, scenario)


def test_a_disk_that_takes_no_mark_ends_neither_the_upkeep_nor_the_stop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(kept: Kept) -> None:
        draft = tmp_path / f"{MARK_FILE}.new"
        draft.mkdir()  # where the mark is written before it is put in place
        await kept.store.append(None, (EventType.NOTICE, {}), at=LONG_AGO + 1)
        await kept.after(1)
        await kept.lineage.end()
        assert caplog.text.count("WARNING") == 2
        draft.rmdir()
        await kept.lineage.end()
        assert kept.lineage.was_closed()

    run(tmp_path, scenario)


def test_one_of_two_processes_does_the_upkeep_and_the_other_takes_it_over(tmp_path: Path) -> None:
    async def scenario(kept: Kept) -> None:
        other = kept.kept_by("w_2", kept.store.database, Policy())
        await kept.after(0)
        await other.turn()
        assert len(kept.uploads.swept) == 1  # the duty is the first one's
        kept.clock.time += upkeep.DUTY_SECONDS + 1  # in which nothing is heard of it
        await other.turn()
        assert len(kept.uploads.swept) == 2
        kept.clock.time += upkeep.SWEEP_SECONDS / 20
        await kept.upkeep.turn()
        assert await kept.store.rows("select owner from duties") == [("w_2",)]

    run(tmp_path, scenario)


def test_an_upload_that_never_ended_is_swept_after_a_day(tmp_path: Path) -> None:
    async def scenario(kept: Kept) -> None:
        await kept.after(3 * DAY)
        assert kept.uploads.swept == [LONG_AGO + 2 * DAY]

    run(tmp_path, scenario)
