"""Stopping and double texting: at once, from anywhere, with what there is of an answer."""

import asyncio
from pathlib import Path

import pytest

from tests.fakes.models import ScriptedModel
from tests.harness.stopwatch import stopwatch
from tests.world import ANA, World, payloads, types, world
from tidings.domain.commands import (
    Chat,
    ChatPayload,
    IfBusy,
    Receipt,
    StopAgent,
    StopPayload,
)
from tidings.domain.errors import Conflict
from tidings.domain.runs import Outcome
from tidings.models.port import Message, ModelReply, ModelRequest, OnText
from tidings.runs.context import RunContext
from tidings.runs.execution import UNWIND_SECONDS
from tidings.runs.port import Agent

STOP_SECONDS_MAX = 1.0


async def writer(ctx: RunContext) -> Outcome:
    """Writes the beginning of an answer, then hangs in its second request."""
    await ctx.think("I write.", 0.5)
    async with ctx.sub("scribe", "Write.") as scribe:
        await scribe.delta("a", "A draft that nobody wants.")
        await scribe.delta("b", "The answer ")
        await scribe.delta("b", "begins")
        await scribe.model(ModelRequest("", (Message("user", "hang"),)))
    return Outcome("never")


async def echo(ctx: RunContext) -> Outcome:
    turns = [f"{t.text}>{t.answer}{'' if t.complete else '...'}" for t in await ctx.history()]
    return Outcome(" | ".join([*turns, ctx.request.text]))


class Hanging(ScriptedModel):
    async def respond(self, request: ModelRequest, on_text: OnText) -> ModelReply:
        await asyncio.Event().wait()
        raise AssertionError


AGENTS: dict[str, Agent] = {"writer": writer, "echo": echo}


async def begun(w: World) -> Receipt:
    """Return a run that hangs, having told the beginning of an answer."""
    receipt = await w.ask("go")
    await w.events_until(receipt, lambda e: types(e)[-1] == "answer_delta")
    return receipt


def stop(receipt: Receipt) -> StopAgent:
    return StopAgent("stop-1", StopPayload(receipt.run_id))


def test_a_stop_takes_effect_at_once_and_keeps_what_there_is(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, AGENTS, model=Hanging()) as w:
            await w.begin()
            async with w.working():
                receipt = await begun(w)
                async with stopwatch(tmp_path) as watch:
                    await w.router.accept(ANA, stop(receipt))
                    events = await w.events_until_end(receipt)
                assert watch.seconds < STOP_SECONDS_MAX
        end = events[-1]
        assert end.type == "agent_cancelled"
        assert end.payload["reason"] == "user"
        assert end.payload["partial_answer"] == "The answer begins"
        assert end.payload["step"] == {"agent": "scribe", "name": "model", "steps_done": 0}

    asyncio.run(scenario())


def test_a_stop_while_no_server_runs_counts_after_the_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, AGENTS, model=Hanging()) as w:
            await w.begin()
            async with w.working():
                receipt = await begun(w)
        async with world(tmp_path, AGENTS, model=Hanging()) as w:
            await w.begin()
            await w.router.accept(ANA, stop(receipt))
            async with w.working():
                events = await w.events_until_end(receipt)
        assert events[-1].type == "agent_cancelled"
        assert events[-1].payload["partial_answer"] == "The answer begins"

    asyncio.run(scenario())


def test_an_agent_that_refuses_to_stop_is_ended_without_it(tmp_path: Path) -> None:
    async def stubborn(ctx: RunContext) -> Outcome:
        await ctx.think("No.", 0.5)
        for _ in range(20):
            try:
                await asyncio.sleep(0.1)
            except asyncio.CancelledError:
                continue
        return Outcome("too late")

    async def scenario() -> None:
        async with world(tmp_path, {"it": stubborn}) as w:
            await w.begin()
            async with w.working():
                receipt = await w.ask("go")
                await w.events_until(receipt, lambda e: types(e)[-1] == "agent_thinking")
                await w.router.accept(ANA, stop(receipt))
                events = await w.events_until_end(receipt)
        assert events[-1].type == "agent_cancelled"
        assert UNWIND_SECONDS < STOP_SECONDS_MAX

    asyncio.run(scenario())


def message(thread_id: str, if_busy: IfBusy | None = None) -> Chat:
    return Chat("second", ChatPayload("and now this", thread_id, if_busy=if_busy))


@pytest.mark.parametrize("by", ["message", "thread"])
def test_a_message_that_interrupts_stops_the_open_run_then_begins(tmp_path: Path, by: str) -> None:
    async def scenario() -> None:
        async with world(tmp_path, AGENTS, model=Hanging()) as w:
            await w.begin()
            async with w.working():
                first = await begun(w)
                wish = IfBusy.INTERRUPT if by == "message" else None
                if by == "thread":
                    mode = IfBusy.INTERRUPT
                    await w.reads.change_thread(ANA, first.thread_id, None, mode)
                second = await w.router.accept(ANA, message(first.thread_id, wish))
                end = (await w.events_until_end(first))[-1]
                assert end.payload["reason"] == "interrupted"
                assert end.payload["partial_answer"] == "The answer begins"
                again = await w.events_until(second, lambda e: types(e)[-1] == "answer_delta")
                started = next(e for e in again if e.type == "agent_started")
                assert started.offset > end.offset

    asyncio.run(scenario())


def test_a_thread_may_refuse_messages_while_it_is_busy(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, AGENTS, model=Hanging()) as w:
            await w.begin()
            async with w.working():
                first = await begun(w)
                await w.reads.change_thread(ANA, first.thread_id, None, IfBusy.REJECT)
                with pytest.raises(Conflict) as refused:
                    await w.router.accept(ANA, message(first.thread_id))
                assert refused.value.code == "thread_busy"
                queued = await w.router.accept(ANA, message(first.thread_id, IfBusy.ENQUEUE))
                assert payloads(
                    await w.events_until(queued, lambda e: types(e)[-1] == "notice"), "notice"
                )
                assert (await w.reads.thread(ANA, first.thread_id))["if_busy"] == "reject"

    asyncio.run(scenario())


def test_an_agent_has_what_was_said_before_in_its_thread(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, AGENTS, model=Hanging()) as w:
            await w.begin()
            async with w.working():
                cut = await begun(w)
                await w.router.accept(ANA, stop(cut))
                one = await w.ask("one", thread=cut.thread_id, agent="echo")
                two = await w.ask("two", thread=cut.thread_id, agent="echo")
                await w.ask("elsewhere", agent="echo")
                await w.events_until_end(one)
                answer = (await w.events_until_end(two))[-1].payload["answer"]
        first = "go>The answer begins..."
        assert answer == f"{first} | one>{first} | one | two"

    asyncio.run(scenario())
