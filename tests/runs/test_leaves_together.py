"""Calls of one reply that need leave ask at once; each is settled by itself, in any order."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from tests.fakes.ports import FaultyDatabase, ManualClock
from tests.runs.test_calls_of_a_reply import Desk, check_calls, leave, replies, wants
from tests.world import ANA, World, payloads, types, world
from tidings.agents.pydantic_agents import pydantic_agent
from tidings.domain.commands import Receipt, StopAgent, StopPayload
from tidings.domain.context import SERVER, UserContext
from tidings.domain.errors import Conflict, Unavailable
from tidings.domain.events import Event
from tidings.runs.pauses import WAIT_SECONDS_MAX
from tidings.storage.warm.port import Transaction

PAYMENTS = wants("pay a", "look slow", "pay b", "pay c")
PHONE = UserContext("acme", "ana", "s9")
"""Another session of the same user."""


async def all_asked(w: World, receipt: Receipt, count: int = 3) -> list[Event]:
    """Return the events that ask, in their order."""
    events = await w.events_until(receipt, lambda e: types(e).count("approval_required") == count)
    return [event for event in events if event.type == "approval_required"]


@asynccontextmanager
async def asking(path: Path, desk: Desk, **options: Any) -> AsyncIterator[tuple[World, Receipt]]:
    """Let a run ask for leave to make three payments, beside a look that needs none."""
    async with world(path, {"it": replies(PAYMENTS)}, desk.tools(), **options) as w:
        await w.begin()
        await w.own_file("f1", ANA)
        async with w.working():
            yield w, await w.ask("go", files=("f1",))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_they_are_answered_in_any_order_and_from_any_device(
    order: tuple[int, ...], tmp_path: Path
) -> None:
    async def scenario() -> None:
        desk = Desk()
        async with asking(tmp_path, desk) as (w, receipt):
            asked = await all_asked(w, receipt)
            assert [event.payload["call_id"] for event in asked] == ["c1", "c3", "c4"]
            for number, place in enumerate(order):
                assert (await w.reads.run(ANA, receipt.run_id))["state"] == "waiting"
                decision = "deny" if place == 1 else "allow"
                said = leave(receipt, asked[place], f"ok-{place}", decision)
                await w.router.accept((ANA, PHONE)[number % 2], said)
            events = await w.events_until_end(receipt)
        assert events[-1].payload["answer"] == "ok ok approval_denied ok"
        assert sorted(desk.done) == ["a c1", "c c4", "slow c2"]
        assert events[-1].payload["summary"]["attempts"] == 2
        settled = [p["request_id"] for p in payloads(events, "request_settled")]
        assert settled == [asked[place].payload["call_id"] for place in order]
        check_calls(events, ["c2", "c1", "c3", "c4"])

    asyncio.run(scenario())


def test_each_expires_by_itself_and_the_time_of_waiting_counts_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk, clock = Desk(), ManualClock()
        async with asking(tmp_path, desk, clock=clock) as (w, receipt):
            asked = await all_asked(w, receipt)
            before = (await w.reads.run(ANA, receipt.run_id))["deadline_at"]
            clock.time += 3600
            await w.router.accept(ANA, leave(receipt, asked[2]))
            assert (await w.reads.run(ANA, receipt.run_id))["deadline_at"] == before
            clock.time += WAIT_SECONDS_MAX
            with pytest.raises(Conflict) as late:
                await w.router.accept(ANA, leave(receipt, asked[0], "late"))
            assert late.value.code == "not_waiting"
            events = await w.events_until_end(receipt)
            waited = await w.database.read(SERVER, _waited)
        assert waited == 3600 + WAIT_SECONDS_MAX
        assert events[-1].payload["answer"] == "approval_expired ok approval_expired ok"
        outcomes = [p["outcome"] for p in payloads(events, "request_settled")]
        assert outcomes == ["allowed", "expired", "expired"]
        assert sorted(desk.done) == ["c c4", "slow c2"]

    asyncio.run(scenario())


def test_a_stop_ends_the_run_whatever_is_still_asked(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = Desk()
        async with asking(tmp_path, desk) as (w, receipt):
            asked = await all_asked(w, receipt)
            await w.router.accept(ANA, leave(receipt, asked[0]))
            await w.router.accept(ANA, StopAgent("s", StopPayload(receipt.run_id)))
            events = await w.events_until_end(receipt)
            with pytest.raises(Conflict):
                await w.router.accept(ANA, leave(receipt, asked[1], "ok-2"))
        assert events[-1].type == "agent_cancelled"
        assert desk.done == ["slow c2"]

    asyncio.run(scenario())


def test_who_is_away_hears_of_those_that_are_still_asked(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = Desk()
        async with asking(tmp_path, desk) as (w, receipt):
            asked = await all_asked(w, receipt)
            assert await w.database.read(SERVER, _noted) == [event.event_id for event in asked]
            await w.router.accept(ANA, leave(receipt, asked[1]))
            left = [asked[0].event_id, asked[2].event_id]
            assert await w.database.read(SERVER, _noted) == left

    asyncio.run(scenario())


@pytest.mark.parametrize("after", [False, True])
def test_they_are_asked_once_wherever_the_store_fails(tmp_path: Path, after: bool) -> None:
    """Each write fails once, those of the answers too; nothing is asked, settled or done twice."""

    async def say(w: World, receipt: Receipt, event: Event) -> None:
        said = leave(receipt, event, f"ok-{event.payload['call_id']}")
        try:
            await w.router.accept(ANA, said)
        except Unavailable:
            await w.router.accept(ANA, said)  # as every client does

    async def scenario(path: Path, failing: int) -> None:
        desk = Desk()
        faulty: list[FaultyDatabase] = []

        def wrap(inner: Any) -> Any:
            faulty.append(FaultyDatabase(inner, lambda n: n == failing, after=after))
            return faulty[0]

        async with world(path, {"it": replies(PAYMENTS)}, desk.tools(), wrap=wrap) as w:
            await w.begin()
            await w.own_file("f1", ANA)
            receipt = await w.ask("go", files=("f1",), id="once")
            async with w.working():
                asked = await all_asked(w, receipt)
                for event in asked:
                    await say(w, receipt, event)
                events = await w.events_until_end(receipt)
        assert len(payloads(events, "approval_required")) == 3
        assert sorted(set(desk.done)) == ["a c1", "b c3", "c c4", "slow c2"]
        assert len([d for d in desk.done if "slow" not in d]) == 3
        assert len(payloads(events, "request_settled")) == 3
        assert faulty[0].writes > failing

    for failing in range(4, 12):
        path = tmp_path / str(failing)
        path.mkdir()
        asyncio.run(scenario(path, failing))


class Cashier:
    """An agent of pydantic-ai that wants three payments in one reply."""

    def __init__(self) -> None:
        self.paid: list[str] = []

    def agent(self) -> Agent[None, str]:
        async def model(
            messages: list[ModelMessage], _info: AgentInfo
        ) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
            if len(messages) > 1:
                yield "done"
                return
            calls = [DeltaToolCall("pay", f'{{"what": "{what}"}}') for what in "abc"]
            yield dict(enumerate(calls))

        agent: Agent[None, str] = Agent(FunctionModel(stream_function=model))

        @agent.tool_plain
        def pay(what: str) -> str:
            """Pay for something."""
            self.paid.append(what)
            return f"paid {what}"

        return agent


def test_calls_of_a_framework_ask_together_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        cashier = Cashier()
        async with world(tmp_path, {"it": pydantic_agent(cashier.agent())}) as w:
            await w.begin()
            await w.own_file("f1", ANA)
            async with w.working():
                receipt = await w.ask("go", files=("f1",))
                asked = await all_asked(w, receipt)
                assert cashier.paid == []
                for number, event in enumerate(reversed(asked)):
                    decision = "deny" if number == 1 else "allow"
                    await w.router.accept(ANA, leave(receipt, event, f"ok-{number}", decision))
                events = await w.events_until_end(receipt)
        assert sorted(cashier.paid) == ["a", "c"]
        assert events[-1].payload["summary"]["attempts"] == 2

    asyncio.run(scenario())


async def _waited(tx: Transaction) -> float:
    ((waited,),) = await tx.execute("select waited_seconds from runs")
    return float(waited)


async def _noted(tx: Transaction) -> list[str]:
    rows = await tx.execute("select event_id from outbox order by event_id")
    return [event_id for (event_id,) in rows]
