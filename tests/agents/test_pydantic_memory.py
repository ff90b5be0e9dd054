"""An agent of pydantic-ai knows what was said before in its thread, and trusts none of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, SystemPromptPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from tests.world import ANA, World, payloads, types, world
from tidings.agents.pydantic_agents import CUT_OFF, pydantic_agent
from tidings.domain.commands import Approve, ApprovePayload, StopAgent, StopPayload
from tidings.domain.context import SERVER
from tidings.domain.events import Event
from tidings.domain.runs import Outcome
from tidings.runs.context import RunContext
from tidings.runs.conversation import HISTORY_CHARACTERS_MAX, TURN_CHARACTERS_MAX
from tidings.storage.warm.port import Transaction


class Parrot:
    """Keeps what its model was sent; sends a letter when it is told to, else repeats the words."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []
        self.sent: list[str] = []

    def agent(self) -> Agent[None, str]:
        async def model(
            messages: list[ModelMessage], info: AgentInfo
        ) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
            self.seen.append([f"instructions: {info.instructions}", *told(messages)])
            words = told(messages)[-1].removeprefix("user: ")
            if words.startswith("send"):
                yield {0: DeltaToolCall("send", "{}")}
            else:
                yield f"You said {words[:20]}"
                yield "."

        agent: Agent[None, str] = Agent(
            FunctionModel(stream_function=model), system_prompt="Be kind.", instructions="Repeat."
        )

        @agent.tool_plain(metadata={"trusted": True})
        def send() -> str:
            """Send a letter."""
            self.sent.append("letter")
            return "sent"

        return agent


def told(messages: list[ModelMessage]) -> list[str]:
    """Return the texts of a conversation, by who says them."""
    lines = []
    for message in messages:
        if isinstance(message, ModelResponse):
            lines.append(f"agent: {message.text or 'calls'}")
            continue
        for part in message.parts:
            who = {SystemPromptPart: "system", UserPromptPart: "user"}.get(type(part), "tool")
            lines.append(f"{who}: {getattr(part, 'content', '')}")
    return lines


async def said(w: World, text: str, thread: str | None = None) -> tuple[str, list[Event]]:
    """Say something in a thread; return the thread and the run's events."""
    receipt = await w.ask(text, thread=thread)
    return receipt.thread_id, await w.events_until_end(receipt)


def test_it_sees_the_turns_before_and_its_own_instructions_once(tmp_path: Path) -> None:
    parrot = Parrot()

    async def scenario() -> None:
        async with world(tmp_path, {"parrot": pydantic_agent(parrot.agent())}) as w:
            await w.begin()
            async with w.working():
                thread, _ = await said(w, "one")
                await said(w, "two", thread)
                await said(w, "three", thread)
                await said(w, "elsewhere")

    asyncio.run(scenario())
    one, _, three, elsewhere = parrot.seen
    assert one == ["instructions: Repeat.", "system: Be kind.", "user: one"]
    assert three == [
        "instructions: Repeat.",
        "system: Be kind.",
        "user: one",
        "agent: You said one.",
        "user: two",
        "agent: You said two.",
        "user: three",
    ]
    assert elsewhere == ["instructions: Repeat.", "system: Be kind.", "user: elsewhere"]


def test_it_is_bounded_and_the_newest_is_kept(tmp_path: Path) -> None:
    parrot = Parrot()

    async def scenario() -> None:
        async with world(tmp_path, {"parrot": pydantic_agent(parrot.agent())}) as w:
            await w.begin()
            async with w.working():
                thread, _ = await said(w, "first")
                for number in range(4):
                    await said(w, f"{number}" * TURN_CHARACTERS_MAX * 2, thread)
                await said(w, "last", thread)

    asyncio.run(scenario())
    *before, last = parrot.seen[-1]
    assert last == "user: last"
    assert "user: first" not in before
    assert f"user: {'3' * TURN_CHARACTERS_MAX}" in before
    assert sum(map(len, before)) <= HISTORY_CHARACTERS_MAX + 100


def test_an_answer_that_was_cut_off_says_so(tmp_path: Path) -> None:
    parrot = Parrot()

    async def hanging(ctx: RunContext) -> Outcome:
        await ctx.delta("a", "The answer is")
        await asyncio.Event().wait()
        return Outcome("never")

    async def scenario() -> None:
        agents = {"hanging": hanging, "parrot": pydantic_agent(parrot.agent())}
        async with world(tmp_path, agents) as w:
            await w.begin()
            async with w.working():
                receipt = await w.ask("go")
                await w.events_until(receipt, lambda e: types(e)[-1] == "answer_delta")
                await w.router.accept(ANA, StopAgent("s", StopPayload(receipt.run_id)))
                await w.events_until_end(receipt)
                again = await w.ask("and?", thread=receipt.thread_id, agent="parrot")
                await w.events_until_end(again)

    asyncio.run(scenario())
    assert parrot.seen[0][-2:] == [f"agent: The answer is\n\n{CUT_OFF}", "user: and?"]


@pytest.mark.parametrize(("remembers", "asks"), [(True, 1), (False, 0)])
def test_what_was_said_before_is_content_from_outside(
    remembers: bool, asks: int, tmp_path: Path
) -> None:
    """With earlier answers in its sight what it writes needs leave; without them it does not."""
    parrot = Parrot()

    async def scenario() -> list[Event]:
        agents = {"parrot": pydantic_agent(parrot.agent(), remembers=remembers)}
        async with world(tmp_path, agents) as w:
            await w.begin()
            async with w.working():
                thread, first = await said(w, "send")
                assert payloads(first, "approval_required") == []
                receipt = await w.ask("send another", thread=thread)
                wanted = {"approval_required", "agent_completed"}
                return await w.events_until(receipt, lambda e: types(e)[-1] in wanted)

    events = asyncio.run(scenario())
    assert len(payloads(events, "approval_required")) == asks
    assert parrot.sent == ["letter"] * (2 - asks)


def test_it_is_the_same_for_every_attempt_whatever_is_let_go_meanwhile(tmp_path: Path) -> None:
    parrot = Parrot()

    async def forget(tx: Transaction) -> None:
        await tx.execute("update runs set created_at = created_at + 1e6 where state = 'ended'")

    async def scenario() -> list[Event]:
        async with world(tmp_path, {"parrot": pydantic_agent(parrot.agent())}) as w:
            await w.begin()
            async with w.working():
                thread, _ = await said(w, "secret")
                receipt = await w.ask("send", thread=thread)
                events = await w.events_until(
                    receipt, lambda e: types(e)[-1] == "approval_required"
                )
                (asked,) = payloads(events, "approval_required")
                await w.database.write(SERVER, forget)
                leave = ApprovePayload(
                    receipt.run_id, asked["call_id"], "allow", asked["arguments_hash"]
                )
                await w.router.accept(ANA, Approve("a1", leave))
                return await w.events_until_end(receipt)

    events = asyncio.run(scenario())
    assert types(events)[-1] == "agent_completed"
    before, after = parrot.seen[-2:]
    assert after[: len(before)] == before
    assert "agent: You said secret." in before
