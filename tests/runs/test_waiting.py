"""Runs that wait for a person: parked without a worker, over restarts, to the answer or its end."""

import asyncio
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.fakes.models import says
from tests.fakes.ports import ManualClock
from tests.runs.failing_writes import Wrap, each_write_fails, insisting
from tests.world import ANA, BOB, World, payloads, types, world
from tidings.domain.commands import AnswerInput, AnswerPayload, Receipt, StopAgent, StopPayload
from tidings.domain.context import SERVER
from tidings.domain.errors import Conflict, Failure, InvalidInput, NotFound
from tidings.domain.events import Event
from tidings.domain.runs import Outcome
from tidings.runs.context import RunContext
from tidings.runs.execution import ATTEMPTS_MAX
from tidings.runs.pauses import WAIT_SECONDS_MAX
from tidings.runs.port import Agent
from tidings.runs.queue import Limits

YES_OR_NO = {"type": "string", "enum": ["yes", "no"]}


async def asker(ctx: RunContext) -> Outcome:
    """Asks the model, then the user, then the model again."""
    await ctx.think("First I think.", 0.1)
    first = await ctx.model(says("one"))
    value = await ctx.ask("Shall I?", YES_OR_NO)
    second = await ctx.model(says("two"))
    return Outcome(f"{first.text} {value} {second.text}")


ASKER: dict[str, Agent] = {"asker": asker}
STORY = [
    "message_received",
    "agent_started",
    "agent_thinking",
    "input_required",
    "request_settled",
    "agent_completed",
]


def reply(run_id: str, value: Any, request_id: str = "q1", id: str = "answer-1") -> AnswerInput:
    return AnswerInput(id, AnswerPayload(run_id, request_id, value))


async def until(w: World, receipt: Receipt, type_: str, count: int = 1) -> list[Event]:
    """Return what the run has told when it has told this so often."""
    return await w.events_until(receipt, lambda events: types(events).count(type_) == count)


async def until_state(w: World, receipt: Receipt, state: str) -> None:
    await until(w, receipt, "input_required")
    assert (await w.reads.run(ANA, receipt.run_id))["state"] == state


def test_a_question_parks_the_run_over_a_restart_and_the_answer_lets_it_go_on(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        async with world(tmp_path, ASKER, clock=clock) as w:
            await w.begin()
            async with w.working():
                receipt = await w.ask("go")
                asked = await until(w, receipt, "input_required")
                assert (await w.reads.run(ANA, receipt.run_id))["state"] == "waiting"
        assert asked[-1].payload["request_id"] == "q1"
        assert asked[-1].payload["schema"] == YES_OR_NO
        clock.time += 3 * 24 * 3600
        async with world(tmp_path, ASKER, clock=clock) as w:
            await w.begin()
            async with w.working():
                accepted = await w.router.accept(ANA, reply(receipt.run_id, "yes"))
                events = await w.events_until_end(receipt)
                assert w.engine.model.requests == 1  # type: ignore[attr-defined]
        assert types(events) == STORY
        assert events[-1].payload["answer"] == "ONE yes TWO"
        settled = events[4]
        assert settled.offset == accepted.offset
        assert settled.payload["outcome"] == "answered"
        assert settled.payload["value"] == "yes"
        started = events[1].payload["deadline_at"]
        assert settled.payload["deadline_at"][:10] > started[:10], "waiting is not the run's time"

    asyncio.run(scenario())


def test_a_run_that_waits_holds_no_worker_but_its_place_in_the_thread(tmp_path: Path) -> None:
    async def echo(ctx: RunContext) -> Outcome:
        return Outcome(ctx.request.text)

    async def scenario() -> None:
        limits = Limits(runs=1, runs_per_user=1)
        async with world(tmp_path, {**ASKER, "echo": echo}, limits=limits) as w:
            await w.begin()
            async with w.working():
                waiting = await w.ask("go")
                await until_state(w, waiting, "waiting")
                elsewhere = await w.ask("elsewhere", agent="echo")
                assert (await w.events_until_end(elsewhere))[-1].payload["answer"] == "elsewhere"
                behind = await w.ask("behind", agent="echo", thread=waiting.thread_id)
                await w.router.accept(ANA, reply(waiting.run_id, "no"))
                end = (await w.events_until_end(waiting))[-1]
                assert (await w.events_until_end(behind))[-1].offset > end.offset

    asyncio.run(scenario())


def test_only_a_fitting_answer_of_the_user_counts_and_only_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, ASKER) as w:
            await w.begin()
            async with w.working():
                receipt = await w.ask("go")
                await until_state(w, receipt, "waiting")
                run_id = receipt.run_id
                with pytest.raises(NotFound):
                    await w.router.accept(BOB, reply(run_id, "yes"))
                with pytest.raises(InvalidInput) as unfit:
                    await w.router.accept(ANA, reply(run_id, "perhaps"))
                assert unfit.value.code == "answer_unfit"
                with pytest.raises(Conflict) as other:
                    await w.router.accept(ANA, reply(run_id, "yes", "q2"))
                assert other.value.code == "not_waiting"
                first = await w.router.accept(ANA, reply(run_id, "yes"))
                again = await w.router.accept(ANA, reply(run_id, "yes"))
                assert (again.offset, again.duplicate) == (first.offset, True)
                with pytest.raises(Conflict) as late:
                    await w.router.accept(ANA, reply(run_id, "no", id="answer-2"))
                assert late.value.code == "not_waiting"
                events = await w.events_until_end(receipt)
                assert events[-1].payload["answer"] == "ONE yes TWO"

    asyncio.run(scenario())


def test_a_question_that_nobody_answers_ends_as_a_typed_failure(tmp_path: Path) -> None:
    async def patient(ctx: RunContext) -> Outcome:
        try:
            return Outcome(await ctx.ask("Are you there?"))
        except Failure as error:
            return Outcome(error.code, status="degraded")

    async def scenario() -> None:
        clock = ManualClock()
        async with world(tmp_path, {"patient": patient}, clock=clock) as w:
            await w.begin()
            async with w.working():
                receipt = await w.ask("go")
                await until(w, receipt, "input_required")
                clock.time += WAIT_SECONDS_MAX + 1
                events = await w.events_until_end(receipt)
        assert payloads(events, "request_settled")[0]["outcome"] == "expired"
        assert events[-1].payload["answer"] == "input_expired"

    asyncio.run(scenario())


def test_waiting_often_is_not_crashing_often(tmp_path: Path) -> None:
    questions = ATTEMPTS_MAX + 2

    async def curious(ctx: RunContext) -> Outcome:
        return Outcome(" ".join([str(await ctx.ask(f"{n}?")) for n in range(questions)]))

    async def scenario() -> None:
        async with world(tmp_path, {"curious": curious}) as w:
            await w.begin()
            async with w.working():
                receipt = await w.ask("go")
                for n in range(1, questions + 1):
                    await until(w, receipt, "input_required", n)
                    await w.router.accept(ANA, reply(receipt.run_id, n, f"q{n}", f"answer-{n}"))
                events = await w.events_until_end(receipt)
        assert events[-1].payload["answer"] == "1 2 3 4 5 6 7"

    asyncio.run(scenario())


@pytest.mark.parametrize("how", ["running", "after-restart"])
def test_a_run_that_waits_can_be_stopped(
    tmp_path: Path, how: Literal["running", "after-restart"]
) -> None:
    async def scenario() -> None:
        async with world(tmp_path, ASKER) as w:
            await w.begin()
            async with w.working():
                receipt = await w.ask("go")
                await until_state(w, receipt, "waiting")
                if how == "running":
                    await w.router.accept(ANA, StopAgent("s1", StopPayload(receipt.run_id)))
                    await w.events_until_end(receipt)
        async with world(tmp_path, ASKER) as w:
            await w.begin()
            async with w.working():
                await w.router.accept(ANA, StopAgent("s1", StopPayload(receipt.run_id)))
                events = await w.events_until_end(receipt)
                with pytest.raises(Conflict):
                    await w.router.accept(ANA, reply(receipt.run_id, "yes"))
        assert types(events) == [*STORY[:4], "agent_cancelled"]
        assert events[-1].payload["step"]["name"] == "q1"

    asyncio.run(scenario())


@pytest.mark.parametrize("after", [False, True], ids=["not-written", "reply-lost"])
def test_whichever_transaction_fails_a_wait_ends_by_its_answer(tmp_path: Path, after: bool) -> None:
    """The n-th write fails, for every n of a run that waits; the client repeats what it says."""

    async def survives(path: Path, wrap: Wrap) -> None:
        async with world(path, ASKER, wrap=wrap) as w:
            await w.begin()
            async with w.working():
                receipt = await insisting(lambda: w.ask("go", id="cmd-1"))
                await until(w, receipt, "input_required")
                await insisting(lambda: w.router.accept(ANA, reply(receipt.run_id, "yes")))
                events = await w.events_until_end(receipt)
            assert types(events) == STORY
            assert [e.offset for e in events] == list(range(1, len(events) + 1))
            assert events[-1].payload["answer"] == "ONE yes TWO"

    asyncio.run(each_write_fails(tmp_path, survives, after=after, writes_min=6))


def test_who_is_away_is_told_that_a_run_waits_until_it_goes_on(tmp_path: Path) -> None:
    async def noted(w: World) -> list[str]:
        rows = await w.database.read(SERVER, lambda tx: tx.execute("select kind from outbox"))
        return [kind for (kind,) in rows]

    async def scenario() -> None:
        async with world(tmp_path, ASKER) as w:
            await w.begin()
            async with w.working():
                receipt = await w.ask("go")
                await until(w, receipt, "input_required")
                assert await noted(w) == ["input_required"]
                await w.router.accept(ANA, reply(receipt.run_id, "yes"))
                await w.events_until_end(receipt)
                assert await noted(w) == ["agent_completed"]

    asyncio.run(scenario())
