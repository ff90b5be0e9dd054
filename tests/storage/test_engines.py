"""What every engine of the warm tier keeps: whole units, right also while others decide."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.storage.units import names, put, run
from tests.stores import ENGINES
from tests.world import ANA, BOB, World, world
from tidings.domain.budgets import Budget, BudgetSpent, Spent
from tidings.domain.commands import Chat, ChatPayload, Receipt
from tidings.domain.context import SERVER, UserContext
from tidings.domain.errors import Conflict, LimitExceeded, TidingsError, Unavailable
from tidings.domain.runs import Outcome, Run, RunRequest
from tidings.events import log
from tidings.notifications import webhooks
from tidings.runs import queue, spending
from tidings.runs.context import RunContext
from tidings.runs.queue import Limits
from tidings.runs.spending import DayEntry
from tidings.storage.warm.port import Store, Transaction, Work

pytestmark = pytest.mark.parametrize("engine", ENGINES)

AT_ONCE = 20


async def outcomes(*doings: Awaitable[Any]) -> list[Any]:
    """Do all at once; return what each returned or raised."""
    return await asyncio.gather(*doings, return_exceptions=True)


def test_a_failing_unit_changes_nothing_tells_nobody_and_harms_no_other(
    tmp_path: Path, engine: str
) -> None:
    async def scenario(database: Store, notes: list[object]) -> None:
        async def fails(tx: Transaction) -> None:
            await put(tx, "never")
            raise LookupError

        units: list[Work[None]] = [partial(put, name=name) for name in ("a", "b", "a", "c")]
        results = await outcomes(*(database.write(SERVER, unit) for unit in (*units, fails)))
        assert [type(r) for r in results].count(type(None)) == 3
        assert sum(isinstance(r, LookupError) for r in results) == 1
        assert not any(isinstance(r, TidingsError) for r in results)  # wrong data, not a fault
        assert await database.read(SERVER, names) == ["a", "b", "c"]
        assert sorted(map(str, notes)) == ["a", "b", "c"]

    run(tmp_path, engine, scenario)


def test_a_note_is_told_after_its_commit_and_before_the_result(tmp_path: Path, engine: str) -> None:
    async def scenario(database: Store, notes: list[object]) -> None:
        for name in ("a", "b"):
            await database.write(SERVER, partial(put, name=name))
            assert notes[-1] == name
            assert name in await database.read(SERVER, names)

    run(tmp_path, engine, scenario)


def test_readers_cannot_write_and_wrong_sql_is_a_defect(tmp_path: Path, engine: str) -> None:
    async def scenario(database: Store, notes: list[object]) -> None:
        with pytest.raises(Unavailable):
            await database.read(SERVER, lambda tx: put(tx, "x"))
        with pytest.raises(Exception, match="nowhere") as raised:
            await database.read(SERVER, lambda tx: tx.execute("select 1 from nowhere"))
        assert not isinstance(raised.value, TidingsError)
        assert await database.read(SERVER, names) == []

    run(tmp_path, engine, scenario)


def test_values_come_back_as_they_went(tmp_path: Path, engine: str) -> None:
    async def scenario(database: Store, notes: list[object]) -> None:
        async def work(tx: Transaction) -> list[Any]:
            await tx.execute(
                "insert into files (file_id, user_id, name, bytes, sha256, created_at)"
                " values (?, 'ana', ?, ?, '', ?)",
                "f?'\"",
                "ä ? \U0001f600",
                2**40,
                1.5,
            )
            await tx.execute_many(
                "insert into steps (run_id, key, kind, emitted, result) values (?, ?, '', '', ?)",
                [("r", "1", b"\x00\xff"), ("r", "2", None)],
            )
            files = await tx.execute("select file_id, name, bytes, created_at from files")
            sums = await tx.execute("select sum(bytes), count(*), sum(created_at) from files")
            steps = await tx.execute("select result from steps order by key")
            return [*files, *sums, *steps]

        found = await database.write(SERVER, work)
        file, sums, *steps = found
        assert file == ("f?'\"", "ä ? \U0001f600", 2**40, 1.5)
        assert sums == (2**40, 1, 1.5)
        assert isinstance(sums[0], int)
        assert steps == [(b"\x00\xff",), (None,)]

    run(tmp_path, engine, scenario)


def test_a_read_sees_one_moment(tmp_path: Path, engine: str) -> None:
    """Units move an amount between two rows; whoever reads them one by one sees the same sum."""

    async def scenario(database: Store, notes: list[object]) -> None:
        async def begin(tx: Transaction) -> None:
            for name in ("left", "right"):
                await tx.execute("insert into duties values (?, '', 50)", name)

        async def move(tx: Transaction) -> None:
            for name, amount in (("left", -1), ("right", 1)):
                await tx.execute(
                    "update duties set held_until = held_until + ? where name = ?", amount, name
                )

        async def look(tx: Transaction) -> float:
            rows = [
                await tx.execute("select held_until from duties where name = ?", name)
                for name in ("left", "right")
            ]
            return float(sum(amount for ((amount,),) in rows))

        await database.write(SERVER, begin)
        results = await outcomes(
            *(database.write(SERVER, move) for _ in range(AT_ONCE)),
            *(database.read(SERVER, look) for _ in range(AT_ONCE)),
        )
        assert {r for r in results if r is not None} == {100.0}

    run(tmp_path, engine, scenario)


def test_what_is_read_by_lock_holds_until_the_end(tmp_path: Path, engine: str) -> None:
    async def scenario(database: Store, notes: list[object]) -> None:
        async def add_one(tx: Transaction) -> None:
            ((value,),) = await tx.lock("select held_until from duties where name = 'n'")
            await tx.execute("update duties set held_until = ? where name = 'n'", value + 1)

        await database.write(SERVER, lambda tx: tx.execute("insert into duties values ('n','',0)"))
        await outcomes(*(database.write(SERVER, add_one) for _ in range(AT_ONCE)))
        rows = await database.read(SERVER, lambda tx: tx.execute("select held_until from duties"))
        assert rows == [(float(AT_ONCE),)]

    run(tmp_path, engine, scenario)


def test_two_servers_that_begin_on_an_empty_store_begin_one(tmp_path: Path, engine: str) -> None:
    async def scenario(database: Store, notes: list[object]) -> None:
        begun = await outcomes(
            *(
                database.write(SERVER, partial(log.open_store, store_id=f"s_00000{n:02}", now=0.0))
                for n in range(AT_ONCE)
            )
        )
        assert begun == [None] * AT_ONCE
        assert len(await database.read(SERVER, lambda tx: tx.execute("select 1 from store"))) == 1

    run(tmp_path, engine, scenario)


def test_a_limit_is_a_limit_however_many_ask_at_once(tmp_path: Path, engine: str) -> None:
    async def scenario(database: Store, notes: list[object]) -> None:
        await database.write(SERVER, lambda tx: put(tx, ANA.user_id))
        results = await outcomes(
            *(
                database.write(
                    ANA,
                    partial(
                        webhooks.add,
                        context=ANA,
                        webhook_id=f"wh_{n}",
                        url="https://x",
                        secret="s",
                        now=0.0,
                    ),
                )
                for n in range(AT_ONCE)
            )
        )
        refused = [r for r in results if isinstance(r, LimitExceeded)]
        assert len(refused) == AT_ONCE - webhooks.WEBHOOKS_PER_USER_MAX
        kept = await database.read(ANA, lambda tx: webhooks.every(tx, ANA))
        assert len(kept) == webhooks.WEBHOOKS_PER_USER_MAX

    run(tmp_path, engine, scenario)


def test_a_budget_is_a_budget_however_many_runs_reserve_at_once(
    tmp_path: Path, engine: str
) -> None:
    async def scenario(database: Store, notes: list[object]) -> None:
        budget = Budget(day_tokens=1_000)
        results = await outcomes(
            *(
                database.write(
                    ANA,
                    partial(
                        spending.enter,
                        run=of_run(n),
                        entry=DayEntry({}, wanted=("c1", Spent(tokens=300)), budget=budget),
                        now=0.0,
                    ),
                )
                for n in range(AT_ONCE)
            )
        )
        assert results.count(None) == 3
        assert sum(isinstance(r, BudgetSpent) for r in results) == AT_ONCE - 3

    run(tmp_path, engine, scenario)


def of_run(number: int) -> Run:
    return Run(
        run_id=f"r_{number}",
        context=ANA,
        thread_id=f"t_{number}",
        agent="a",
        request=RunRequest("?", ()),
        created_at=0.0,
        deadline_at=300.0,
    )


async def idle(ctx: RunContext) -> Outcome:
    return Outcome("done")


async def with_users(w: World) -> None:
    await w.begin()
    for user in (ANA, BOB):
        await w.database.write(SERVER, partial(put, name=user.user_id))


def test_one_command_sent_many_times_at_once_is_carried_out_once(
    tmp_path: Path, engine: str
) -> None:
    async def scenario() -> None:
        async with world(tmp_path, {"idle": idle}, engine=engine) as w:
            await with_users(w)
            same = await outcomes(*(w.ask("Once.", id="m_1") for _ in range(AT_ONCE)))
            assert all(isinstance(r, Receipt) for r in same), same
            assert sorted(r.duplicate for r in same) == [False] + [True] * (AT_ONCE - 1)
            assert len({r.run_id for r in same}) == 1
            another = await outcomes(
                *(w.router.accept(ANA, Chat("m_2", ChatPayload(f"{n}"))) for n in range(AT_ONCE))
            )
            assert sum(isinstance(r, Receipt) for r in another) == 1
            assert sum(isinstance(r, Conflict) for r in another) == AT_ONCE - 1
            runs = await w.database.read(ANA, lambda tx: tx.execute("select count(*) from runs"))
            assert runs == [(2,)]

    asyncio.run(scenario())


def test_open_runs_are_limited_however_many_come_at_once(tmp_path: Path, engine: str) -> None:
    async def scenario() -> None:
        async with world(tmp_path, {"idle": idle}, engine=engine) as w:
            await with_users(w)
            most = queue.RUNS_OPEN_PER_USER_MAX
            asked = await outcomes(*(w.ask(f"{n}") for n in range(most + 5)))
            assert sum(isinstance(r, LimitExceeded) for r in asked) == 5, asked

    asyncio.run(scenario())


def test_many_workers_that_claim_at_once_take_each_run_once_and_keep_the_limits(
    tmp_path: Path, engine: str
) -> None:
    async def scenario() -> None:
        async with world(tmp_path, {"idle": idle}, engine=engine) as w:
            await with_users(w)
            for user in (ANA, BOB):
                first = await w.ask("First.", user)
                await w.ask("Second, in its thread.", user, thread=first.thread_id)
                for number in range(6):
                    await w.ask(f"{number}", user)
            now = w.clock.now()
            limits = Limits(runs=16, runs_per_user=4)

            def claim(owner: str) -> Callable[[Transaction], Coroutine[Any, Any, list[Run]]]:
                async def work(tx: Transaction) -> list[Run]:
                    await queue.take_claims(tx)
                    return await queue.claim(tx, owner, now, now + 15, free=3, limits=limits)

                return work

            claims = await outcomes(
                *(w.database.write(SERVER, claim(f"w_{n}")) for n in range(AT_ONCE))
            )
            taken = [run for claimed in claims for run in claimed]
            assert len({run.run_id for run in taken}) == len(taken)
            assert sorted(run.context.user_id for run in taken) == ["ana"] * 4 + ["bob"] * 4
            assert len({run.thread_id for run in taken}) == len(taken)
            assert {run.fence for run in taken} == {1}

    asyncio.run(scenario())


def test_events_appended_at_once_have_places_without_a_hole(tmp_path: Path, engine: str) -> None:
    async def scenario() -> None:
        async with world(tmp_path, {"idle": idle}, engine=engine) as w:
            await with_users(w)
            first = await w.ask("First.")
            asked = await outcomes(
                *(w.ask(f"{n}", thread=first.thread_id) for n in range(AT_ONCE)),
            )
            assert all(isinstance(r, Receipt) for r in asked), asked
            _, entries = await w.database.read(
                ANA, lambda tx: log.read_after(tx, ANA, f"thread:{first.thread_id}", 0, 500)
            )
            assert [e.offset for e in entries] == list(range(1, len(entries) + 1))
            assert len(entries) >= AT_ONCE + 1

    asyncio.run(scenario())


def test_a_foreign_user_is_nobody(tmp_path: Path, engine: str) -> None:
    """Where the engine has a second wall, and where the SQL is the only one."""

    async def scenario() -> None:
        async with world(tmp_path, {"idle": idle}, engine=engine) as w:
            await with_users(w)
            mine = await w.ask("Mine.")
            theirs = UserContext(BOB.tenant_id, BOB.user_id, BOB.session_id)
            for doing in (
                w.reads.thread(theirs, mine.thread_id),
                w.reads.run(theirs, mine.run_id),
                w.reads.events(theirs, f"thread:{mine.thread_id}", "0", 9),
                w.ask("Into it.", theirs, thread=mine.thread_id),
            ):
                (result,) = await outcomes(doing)
                assert isinstance(result, TidingsError)
                assert result.code == "not_found"

    asyncio.run(scenario())
