"""How many messages PostgreSQL gets for what is done: each is a wait."""

import asyncio
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from tests.harness.postgres import postgres
from tests.harness.proxy import proxying
from tests.harness.tiers import database_of
from tests.storage.test_postgres import Counting, add_ana, look, opened, through
from tests.storage.units import names, put
from tests.world import World
from tidings.domain.context import SERVER
from tidings.domain.errors import Unavailable
from tidings.domain.facts import ToolResult
from tidings.domain.permissions import Effect
from tidings.domain.runs import Outcome
from tidings.models.port import Message, ModelRequest
from tidings.runs import queue
from tidings.runs.context import RunContext
from tidings.runs.execution import Execution
from tidings.runs.journal import Journal
from tidings.runs.queue import Limits
from tidings.storage.hot.memory import LocalHints
from tidings.storage.warm.port import Transaction
from tidings.tools.port import ToolContext, tool

RUNS_COUNTED = 5
MESSAGES_A_THREAD = 8
"""With the command that begins it; a question in one that is there takes two less."""
MESSAGES_A_RUN_MAX = 31
"""With its command and its claim. A server looks at the session, and twice for something to do."""


@tool(effect=Effect.READ)
async def look_up(_: ToolContext, text: str) -> ToolResult:
    """Return what was said."""
    return ToolResult(summary=text)


async def one_tool(ctx: RunContext) -> Outcome:
    """Ask the model, make a call, ask again, and show the answer in pieces."""
    await ctx.plan("Answer", ["Look it up"])
    await ctx.think("I look it up.", 0.2)
    await ctx.model(ModelRequest("Help.", (Message("user", ctx.request.text),)))
    await ctx.tool("look_up", {"text": "x"}, purpose="Look it up")
    reply = await ctx.model(ModelRequest("Help.", (Message("user", "x"),)))
    await ctx.delta("answer", reply.text)
    return Outcome(reply.text)


def test_a_run_with_one_tool_takes_few_messages(tmp_path: Path) -> None:
    async def scenario() -> list[int]:
        taken = []
        async with proxying(postgres().port) as proxy:
            proxy.up = counting = Counting()
            async with opened(through(database_of(tmp_path), proxy)) as database:
                w = World(database, LocalHints(), {"one_tool": one_tool}, [look_up])
                await w.begin()
                thread = (await w.ask("?")).thread_id
                await carry_out(w)
                for _ in range(RUNS_COUNTED):
                    before = counting.messages
                    await w.ask("?", thread=thread)
                    await carry_out(w)
                    taken.append(counting.messages - before)
        return taken

    taken = asyncio.run(scenario())
    assert min(taken) <= MESSAGES_A_RUN_MAX, taken


def test_a_command_takes_few_messages(tmp_path: Path) -> None:
    async def scenario() -> list[int]:
        taken = []
        async with proxying(postgres().port) as proxy:
            proxy.up = counting = Counting()
            async with opened(through(database_of(tmp_path), proxy)) as database:
                w = World(database, LocalHints(), {"one_tool": one_tool})
                await w.begin()
                for thread in (None, (await w.ask("?")).thread_id):
                    for _ in range(2):
                        before = counting.messages
                        await w.ask("?", thread=thread)
                        taken.append(counting.messages - before)
        return taken

    taken = asyncio.run(scenario())
    assert [taken[1], taken[3]] == [MESSAGES_A_THREAD, MESSAGES_A_THREAD - 2]


async def carry_out(w: World) -> None:
    """Claim the run that is there and drive it to its end, as a worker does that finds it."""
    now = w.clock.now()
    (run,) = await w.database.write(
        SERVER, lambda tx: queue.claim(tx, "w", now, now + 15, free=1, limits=Limits())
    )
    await Execution(w.engine, Journal(w.database, w.clock, w.ids, run)).drive(one_tool)


def test_what_the_server_reads_by_one_statement_is_one_message(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with proxying(postgres().port) as proxy:
            proxy.up = counting = Counting()
            async with opened(through(database_of(tmp_path), proxy)) as database:
                for _ in range(2):
                    await database.read(SERVER, look)
                before = counting.messages
                await database.read(SERVER, look)
                assert counting.messages == before + 1
                with pytest.raises(Unavailable):
                    await database.read(SERVER, add_ana)

    asyncio.run(scenario())


def test_what_the_server_reads_by_two_statements_is_of_one_moment(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(database_of(tmp_path)) as database:
            numbers = count(1)

            async def meddled(tx: Transaction) -> tuple[list[str], list[str]]:
                before = await names(tx)
                await database.write(SERVER, partial(put, name=f"u{next(numbers)}"))
                return before, await names(tx)

            before, after = await database.read(SERVER, meddled)
            assert before == after
            assert len(await database.read(SERVER, names)) > len(after)

    asyncio.run(scenario())
