"""Text that was shown and cut off is kept, and is called incomplete; what is whole is not."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.models import ScriptedModel, says
from tests.world import ANA, payloads, world
from tidings.domain.commands import AnswerInput, AnswerPayload, StopAgent, StopPayload
from tidings.domain.errors import Failure
from tidings.domain.events import Event
from tidings.domain.runs import Outcome
from tidings.models.port import ModelReply, ModelRequest, OnText
from tidings.runs.context import RunContext
from tidings.runs.port import Agent


class Breaking(ScriptedModel):
    """Shows its first word and then fails, hangs, or goes on, as it is told."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.shown = asyncio.Event()

    async def respond(self, request: ModelRequest, on_text: OnText) -> ModelReply:
        if request.messages[-1].text.startswith("whole"):
            return await super().respond(request, on_text)
        self.requests += 1
        await on_text("Half a ")
        self.shown.set()
        if self.how == "hangs":
            await asyncio.Event().wait()
        if self.how == "fails":
            raise Failure("model_unavailable", "The model has gone.")
        return await super().respond(request, on_text)


async def writer(ctx: RunContext) -> Outcome:
    """Lets its model write; `whole` first, `recover` afterwards, if the message says so."""
    text = ctx.request.text
    if "whole" in text:
        await ctx.model(says("whole"), on_text=lambda piece: ctx.delta("before", piece))
    try:
        await ctx.model(says("sentence"), on_text=lambda piece: ctx.delta("answer", piece))
    except Failure:
        if "recover" not in text:
            raise
        await ctx.model(says("whole again"), on_text=lambda piece: ctx.delta("other", piece))
    return Outcome("done")


def tell(path: Path, text: str, model: Breaking, agent: Agent = writer) -> list[Event]:
    async def scenario() -> list[Event]:
        async with world(path, {"it": agent}, model=model) as w:
            await w.begin()
            async with w.working():
                receipt = await w.ask(text)
                if model.how == "hangs":
                    await model.shown.wait()
                    stop = StopAgent("stop-1", StopPayload(receipt.run_id))
                    await w.router.accept(ANA, stop)
                return await w.events_until_end(receipt)

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("text", "how", "incomplete"),
    [
        ("go", "fails", ["answer.1"]),
        ("go", "hangs", ["answer.1"]),
        ("go", "goes on", []),
        ("whole", "goes on", []),
        ("whole", "fails", ["answer.1"]),
        ("recover", "fails", ["answer.1"]),
        ("whole, recover", "fails", ["answer.1"]),
    ],
)
def test_what_was_cut_off_is_named_at_the_end(
    tmp_path: Path, text: str, how: str, incomplete: list[str]
) -> None:
    end = tell(tmp_path, text, Breaking(how))[-1]
    assert end.payload.get("incomplete", []) == incomplete
    failed = how == "hangs" or (how == "fails" and "recover" not in text)
    assert (end.type == "agent_completed") is not failed
    assert end.payload.get("partial_answer") == ("Half a " if failed else None)


def test_an_agent_that_is_given_up_in_mid_sentence_leaves_its_text_marked(tmp_path: Path) -> None:
    async def leader(ctx: RunContext) -> Outcome:
        try:
            async with asyncio.timeout(0.2):
                return await writer(ctx)
        except TimeoutError:
            return Outcome("without it", status="degraded")

    class Hanging(Breaking):
        how = "waits"

        async def respond(self, request: ModelRequest, on_text: OnText) -> ModelReply:
            await on_text("Half a ")
            await asyncio.Event().wait()
            raise AssertionError

    end = tell(tmp_path, "go", Hanging("waits"), leader)[-1]
    assert end.payload["incomplete"] == ["answer.1"]
    assert end.payload["status"] == "degraded"


def test_after_a_crash_only_text_whose_request_is_on_record_counts_as_whole(
    tmp_path: Path,
) -> None:
    """The first attempt wrote one text to its end, and was in the middle of another."""

    async def scenario() -> dict[str, Any]:
        hanging = Breaking("hangs")
        async with world(tmp_path, {"it": writer}, model=hanging) as w:
            await w.begin()
            async with w.working():
                receipt = await w.ask("whole")
                two = {"before.1", "answer.1"}
                await w.events_until(
                    receipt,
                    lambda e: {p["message_id"] for p in payloads(e, "answer_delta")} == two,
                )
        async with world(tmp_path, {"it": writer}, model=Breaking("goes on")) as w:
            await w.begin()
            async with w.working():
                return (await w.events_until_end(receipt))[-1].payload

    assert asyncio.run(scenario())["incomplete"] == ["answer.1"]


def test_a_text_that_was_whole_before_a_question_stays_whole(tmp_path: Path) -> None:
    async def asks(ctx: RunContext) -> Outcome:
        await ctx.model(says("whole"), on_text=lambda piece: ctx.delta("before", piece))
        await ctx.ask("Go on?")
        return Outcome("done")

    async def scenario() -> dict[str, Any]:
        async with world(tmp_path, {"it": asks}, model=Breaking("goes on")) as w:
            await w.begin()
            async with w.working():
                receipt = await w.ask("go")
                await w.events_until(receipt, lambda e: e[-1].type == "input_required")
                said = AnswerPayload(receipt.run_id, "q1", value=True)
                await w.router.accept(ANA, AnswerInput("yes-1", said))
                return (await w.events_until_end(receipt))[-1].payload

    assert "incomplete" not in asyncio.run(scenario())
