"""Runs beside each other: stopped, in order, shared fairly, fenced, and accepted once."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.fakes.models import says
from tests.fakes.ports import ManualClock
from tests.world import ANA, BOB, World, payloads, world
from tidings.domain.budgets import Budget
from tidings.domain.commands import StopAgent, StopPayload
from tidings.domain.context import SERVER
from tidings.domain.errors import (
    Conflict,
    InvalidInput,
    LimitExceeded,
    NotFound,
)
from tidings.domain.events import Event
from tidings.domain.runs import Outcome
from tidings.runs import queue
from tidings.runs.context import RunContext
from tidings.runs.journal import Interrupted, Journal
from tidings.runs.queue import RUNS_OPEN_PER_USER_MAX, Limits, RunLost
from tidings.storage.hot.memory import LocalHints


async def until_stopped(ctx: RunContext) -> Outcome:
    await ctx.think("Working.", 0.5)
    await asyncio.Event().wait()
    return Outcome("never")


def test_a_running_and_a_waiting_run_can_be_stopped(tmp_path: Path) -> None:
    async def scenario() -> None:
        limits = Limits(runs=1)
        async with world(tmp_path, {"it": until_stopped}, limits=limits) as w:
            await w.begin()
            async with w.working():
                running = await w.ask("one")
                waiting = await w.ask("two")
                for receipt in (waiting, running):
                    stop = StopAgent(w.ids.new("m"), StopPayload(receipt.run_id))
                    with pytest.raises(NotFound):
                        await w.router.accept(BOB, stop)
                    await w.router.accept(ANA, stop)
                    events = await w.events_until_end(receipt)
                    assert events[-1].type == "agent_cancelled"
                    assert (await w.reads.run(ANA, receipt.run_id))["status"] == "cancelled"
                assert payloads(await w.events_until_end(waiting), "notice")[0]["place"] == 1

    asyncio.run(scenario())


def test_messages_of_one_thread_are_worked_on_in_their_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        order: list[str] = []

        async def notes(ctx: RunContext) -> Outcome:
            order.append(f"{ctx.request.text} begins")
            await ctx.model(says("x"))
            order.append(f"{ctx.request.text} ends")
            return Outcome("ok")

        async with world(tmp_path, {"notes": notes}) as w:
            await w.begin()
            async with w.working():
                first = await w.ask("0")
                rest = [await w.ask(str(n), thread=first.thread_id) for n in range(1, 5)]
                await w.events_until_end(rest[-1])
        assert order == [f"{n} {what}" for n in range(5) for what in ("begins", "ends")]

    asyncio.run(scenario())


def test_messages_of_one_thread_keep_their_order_though_the_clock_is_set_back(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        async with world(tmp_path, {"it": until_stopped}, clock=clock) as w:
            await w.begin()
            thread = (await w.ask("0")).thread_id
            for text in ("1", "2"):
                clock.advance(-60.0)
                await w.ask(text, thread=thread)
            now = clock.now()

            async def take_and_end(tx: Any) -> str:
                (run,) = await queue.claim(tx, "w", now, now + 9, free=4, limits=Limits())
                await queue.end(tx, run, "completed", now)
                return str(run.request.text)

            order = [await w.database.write(SERVER, take_and_end) for _ in range(3)]
            assert order == ["0", "1", "2"]

    asyncio.run(scenario())


def test_no_user_takes_all_places(tmp_path: Path) -> None:
    async def scenario() -> None:
        limits = Limits(runs=4, runs_per_user=2)
        async with world(tmp_path, {"it": until_stopped}, limits=limits) as w:
            await w.begin()
            for n in range(6):
                await w.ask(str(n))
            await w.ask("bob's", BOB)
            now = w.clock.now()

            async def claim(tx: Any) -> Any:
                return await queue.claim(tx, "w", now, now + 9, free=4, limits=limits)

            claimed = await w.database.write(SERVER, claim)
            assert sorted(run.context.user_id for run in claimed) == ["ana", "ana", "bob"]
            assert await w.database.write(SERVER, claim) == []

    asyncio.run(scenario())


def test_a_worker_that_lost_its_lease_writes_nothing_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, {"it": until_stopped}) as w:
            await w.begin()
            receipt = await w.ask("go")
            limits = Limits()

            def claim_by(owner: str, now: float) -> Any:
                return lambda tx: queue.claim(tx, owner, now, now + 5, free=1, limits=limits)

            now = w.clock.now()
            (paused,) = await w.database.write(SERVER, claim_by("w1", now))
            assert await w.database.write(SERVER, claim_by("w2", now + 4)) == []
            assert await w.database.write(SERVER, claim_by("w1", now + 6)) == []  # it has it
            (current,) = await w.database.write(SERVER, claim_by("w2", now + 6))
            assert (paused.fence, current.fence) == (1, 2)
            with pytest.raises(Interrupted):
                await Journal(w.database, w.clock, w.ids, paused).begin("c1", Budget())
            page = await w.reads.events(ANA, f"thread:{receipt.thread_id}", "0", 10)
            assert len(page["events"]) == 1

    asyncio.run(scenario())


def test_a_worker_that_finds_another_in_its_place_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        told, go_on = asyncio.Event(), asyncio.Event()
        lost: asyncio.Queue[RunLost] = asyncio.Queue()
        hints = LocalHints()
        hints.listen(RunLost, lost.put_nowait)

        async def halted(ctx: RunContext) -> Outcome:
            told.set()
            await go_on.wait()
            await ctx.ask("Are you there?", {"type": "boolean"})
            return Outcome("never")

        async with world(tmp_path, {"it": halted}, hints=hints) as w:
            await w.begin()
            async with w.working():
                receipt = await w.ask("go")
                await told.wait()

                async def overtake(tx: Any) -> None:
                    await tx.execute("update runs set fence = fence + 1, owner = 'another'")

                await w.database.write(SERVER, overtake)
                go_on.set()
                assert await lost.get() == RunLost(receipt.run_id)

    asyncio.run(scenario())


def test_a_command_is_carried_out_once_however_often_it_is_sent(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, {"it": until_stopped}) as w:
            await w.begin()
            async with asyncio.TaskGroup() as tasks:
                tries = [tasks.create_task(w.ask("go", id="same")) for _ in range(10)]
            receipts = [t.result() for t in tries]
            assert len({r.run_id for r in receipts}) == 1
            assert sum(r.duplicate for r in receipts) == 9
            with pytest.raises(Conflict):
                await w.ask("something else", id="same")
            assert (await w.ask("go", BOB, id="same")).run_id != receipts[0].run_id

    asyncio.run(scenario())


def test_a_question_without_files_is_about_those_asked_of_before(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, {"it": until_stopped}) as w:
            await w.begin()

            async def keep_files(tx: Any) -> None:
                for file_id in ("f_1", "f_2", "f_3"):
                    await tx.execute(
                        "insert into files (file_id, user_id, name, bytes, sha256, created_at)"
                        " values (?, 'ana', 'x', 1, '', 0)",
                        file_id,
                    )

            await w.database.write(SERVER, keep_files)
            first = await w.ask("about these", files=("f_1", "f_2"))
            await w.database.write(
                SERVER, lambda tx: tx.execute("delete from files where file_id = 'f_2'")
            )
            again = await w.ask("and now?", thread=first.thread_id)
            other = await w.ask("about another", thread=first.thread_id, files=("f_3",))
            fresh = await w.ask("hello")
            files = {}
            for receipt in (again, other, fresh):
                page = await w.reads.events(ANA, f"thread:{receipt.thread_id}", "0", 100)
                for raw in page["events"]:
                    event = msgspec.json.decode(raw, type=Event)
                    if event.run_id == receipt.run_id and event.type == "message_received":
                        files[event.payload["text"]] = event.payload["files"]
            assert files == {"and now?": ["f_1"], "about another": ["f_3"], "hello": []}

    asyncio.run(scenario())


def test_senseless_commands_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    async def scenario(w: World) -> None:
        for text in ("", "  \n", "x" * 20_001, "a\0b"):
            with pytest.raises(InvalidInput):
                await w.ask(text)
        with pytest.raises(InvalidInput, match="Known: it"):
            await w.ask("go", agent="itt")
        with pytest.raises(InvalidInput):
            await w.ask("go", id="not an id")
        with pytest.raises(NotFound):
            await w.ask("go", thread="t_unknown")
        assert await w.reads.threads(ANA, 10, None) == []
        for n in range(RUNS_OPEN_PER_USER_MAX):
            await w.ask(str(n))
        with pytest.raises(LimitExceeded):
            await w.ask("one more")

    async def whole() -> None:
        async with world(tmp_path, {"it": until_stopped}) as w:
            await w.begin()
            await scenario(w)

    asyncio.run(whole())
