"""A user is deleted: of theirs nothing is left, whatever it is, and others have everything."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.ports import ManualClock
from tests.stores import ENGINES
from tests.world import ANA, BOB, World, types, world
from tidings.domain.commands import Approve, ApprovePayload
from tidings.domain.context import SERVER, UserContext
from tidings.domain.errors import NotFound, Unauthenticated, Unavailable
from tidings.domain.facts import ToolResult
from tidings.domain.permissions import Effect, Permission
from tidings.domain.runs import Outcome
from tidings.identity import store
from tidings.models.port import Message, ModelRequest
from tidings.router.departures import LETTING_GO_SECONDS, Departures
from tidings.router.permissions import Permissions
from tidings.runs import queue
from tidings.runs.context import RunContext
from tidings.runs.port import Agent
from tidings.storage.warm.catalogue import StoredTable, tables
from tidings.storage.warm.port import Database, Row, Transaction
from tidings.storage.warm.postgres.security import _THROUGH, SHARED
from tidings.tools.port import ToolContext, tool

MARK = "the-secret-of-"
LEFT = {"users", "erasures"}
"""Where the id of one who has left stays: so that what comes late is refused, and erased."""


class Shelves:
    """Counts what it was asked to remove."""

    def __init__(self) -> None:
        self.cleared: list[str] = []

    async def delete_all(self, context: UserContext) -> int:
        self.cleared.append(context.user_id)
        return 2


class QuickClock(ManualClock):
    """Nobody waits by it: with every look at it a second has gone."""

    def monotonic(self) -> float:
        self.time += 1.0
        return self.time


@tool(effect=Effect.WRITE)
async def post(ctx: ToolContext, text: str) -> ToolResult:
    """Post a letter."""
    return ToolResult(f"Posted: {text}")


class Office:
    """Agents: one asks the model and a tool, one waits for leave, one hangs until `gate` opens."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.stopped: list[str] = []

    async def clerk(self, ctx: RunContext) -> Outcome:
        await ctx.model(ModelRequest("", (Message("user", ctx.request.text),)))
        done = await ctx.tool("post", {"text": ctx.request.text}, purpose=ctx.request.text)
        return Outcome(done.result.summary if done.result else "no")

    async def hangs(self, ctx: RunContext) -> Outcome:
        await ctx.think(ctx.request.text, 0.1)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.stopped.append(ctx.user.user_id)
            raise
        return Outcome("done")

    def agents(self) -> dict[str, Agent]:
        return {"clerk": self.clerk, "hangs": self.hangs}


@asynccontextmanager
async def filled(path: Path, office: Office, engine: str, **more: Any) -> AsyncIterator[World]:
    """Open a world in which each of two users has something in every table."""
    async with world(path, office.agents(), [post], engine=engine, **more) as w:
        await w.begin()
        for user in (ANA, BOB):
            await fill(w, user)
        yield w


async def fill(w: World, user: UserContext) -> None:
    """Let a user have a run that has ended, one that waits, one under way, and all the rest."""
    secret = f"{MARK}{user.user_id}"
    await w.database.write(SERVER, lambda tx: belongings(tx, user))
    async with w.working():
        await w.events_until_end(await w.ask(secret, user, agent="clerk"), user)
        await Permissions(w.database, w.engine.catalogue).tell(user, {"post": Permission.ASK})
        asks = await w.ask(secret, user, agent="clerk")
        await w.events_until(asks, lambda e: types(e)[-1] == "approval_required", user)


async def belongings(tx: Transaction, user: UserContext) -> None:
    """Write what runs do not."""
    me, secret = user.user_id, f"{MARK}{user.user_id}"
    rows: list[tuple[str, tuple[Any, ...]]] = [
        (
            "users (user_id, tenant_id, name, password_hash, created_at)",
            (me, "acme", me, secret, 0),
        ),
        ("sessions (session_id, user_id, created_at, expires_at)", (f"s-{me}", me, 0, 9e9)),
        ("refresh_tokens (token_hash, session_id)", (f"h-{me}", f"s-{me}")),
        (
            "files (file_id, user_id, name, bytes, sha256, created_at)",
            (f"f-{me}", me, secret, 1, "", 0),
        ),
        (
            "reports (report_id, user_id, run_id, body, created_at)",
            (f"rp-{me}", me, f"r-{me}", secret.encode(), 0),
        ),
        (
            'positions (user_id, device, stream, "offset", acknowledged_at)',
            (me, secret, f"user:{me}", 0, 0),
        ),
        (
            'inbox (item_id, user_id, event_id, thread_id, run_id, "offset", kind, status, title,'
            " created_at)",
            (f"i-{me}", me, f"e-{me}", "t", "r", 1, "k", "s", secret, 0),
        ),
        ("preferences (user_id, body)", (me, secret)),
        (
            "webhooks (webhook_id, user_id, url, secret, created_at)",
            (f"wh-{me}", me, secret, secret, 0),
        ),
        (
            "webhook_deliveries (webhook_id, event_id, thread_id, body, state, created_at,"
            " next_attempt_at)",
            (f"wh-{me}", "e", "t", secret, "pending", 0, 9e9),
        ),
        (
            "reservations (run_id, step, user_id, day, tokens, cost_usd)",
            (f"r-{me}", "s", me, "2026-01-01", 1, 0.0),
        ),
        ("erasures (thread_id, user_id)", (f"t-{me}", me)),
    ]
    for table, values in rows:
        marks = ", ".join("?" * len(values))
        await tx.execute(f"insert into {table} values ({marks})", *values)


async def owned(tx: Transaction, user: UserContext) -> dict[str, list[Row]]:
    """Return everything that is a user's, by table."""
    found = {}
    for table in tables():
        if table.name not in SHARED:
            found[table.name] = await _rows_of(tx, table, user)
    return found


async def _rows_of(tx: Transaction, table: StoredTable, user: UserContext) -> list[Row]:
    columns = ", ".join(f'"{column}"' for column in sorted(table.columns))
    whose = "user_id = ?"
    if table.name in _THROUGH:
        parent, key = _THROUGH[table.name]
        whose = f"{key} in (select {key} from {parent} where user_id = ?)"
    rows = await tx.execute(
        f"select {columns} from {table.name} where {whose}",
        user.user_id,
    )
    return sorted(rows, key=repr)


async def everything(tx: Transaction) -> str:
    """Return all that the store holds, orphans too."""
    return repr([await tx.execute(f"select * from {table.name}") for table in tables()])


async def look(database: Database, user: UserContext) -> dict[str, list[Row]]:
    return await database.read(SERVER, lambda tx: owned(tx, user))


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_is_left_of_the_user_and_others_have_everything(
    engine: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        office, shelves = Office(), Shelves()
        async with filled(tmp_path, office, engine) as w:
            before = await look(w.database, ANA)
            assert [table for table, rows in before.items() if not rows] == []
            bobs = await look(w.database, BOB)
            departures = Departures(w.database, shelves, w.clock)
            gone = await departures.delete("ana")
            assert (gone, shelves.cleared) == ((2, 2), ["ana"])
            after = await look(w.database, ANA)
            assert {table for table, rows in after.items() if rows} == LEFT
            assert await look(w.database, BOB) == bobs
            whole = await w.database.read(SERVER, everything)
            assert f"{MARK}ana" not in whole
            assert f"{MARK}bob" in whole
            listed = await w.database.read(SERVER, store.list_users)
            assert [user.name for user in listed] == ["bob"]
            with pytest.raises(NotFound):
                await departures.delete("ana")
            with pytest.raises(Unauthenticated):
                await w.ask("I am still here.", ANA)  # as if it had been checked before

    asyncio.run(scenario())


def test_a_run_under_way_is_stopped_and_that_of_another_goes_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        office = Office()
        async with filled(tmp_path, office, "sqlite") as w, w.working():
            hers = await w.ask("go", ANA, agent="hangs")
            his = await w.ask("go", BOB, agent="hangs")
            for receipt, user in ((hers, ANA), (his, BOB)):
                await w.events_until(receipt, lambda e: types(e)[-1] == "agent_thinking", user)
            await Departures(w.database, Shelves(), w.clock).delete("ana")
            assert office.stopped == ["ana"]
            office.gate.set()
            events = await w.events_until_end(his, BOB)
            assert events[-1].payload["answer"] == "done"
            after = await look(w.database, ANA)
            assert {table for table, rows in after.items() if rows} == LEFT

    asyncio.run(scenario())


def test_a_worker_that_does_not_let_go_is_fenced_off(tmp_path: Path) -> None:
    """It is halted with the run in its hands; when it comes back it can write nothing."""

    async def scenario() -> None:
        async with filled(tmp_path, Office(), "sqlite") as w:
            await w.ask("go", ANA, agent="hangs")
            claimed = await w.database.write(
                SERVER,
                lambda tx: queue.claim(
                    tx, "halted", w.clock.now(), 9e9, free=9, limits=queue.Limits()
                ),
            )
            (run,) = [run for run in claimed if run.context.user_id == "ana"]
            clock = QuickClock(w.clock.now())
            begun = clock.time
            await Departures(w.database, Shelves(), clock).delete("ana")
            assert clock.time - begun >= LETTING_GO_SECONDS
            with pytest.raises(queue.Fenced):
                await w.database.write(run.context, lambda tx: queue.held(tx, run))
            after = await look(w.database, ANA)
            assert {table for table, rows in after.items() if rows} == LEFT

    asyncio.run(scenario())


class Stumbling:
    """Files that cannot be removed the first time."""

    def __init__(self) -> None:
        self.calls = 0

    async def delete_all(self, _context: UserContext) -> int:
        self.calls += 1
        if self.calls == 1:
            raise Unavailable("storage_unavailable", "Injected.")
        return 0


def test_what_is_cut_off_is_gone_on_with(tmp_path: Path) -> None:
    async def scenario() -> None:
        files = Stumbling()
        async with filled(tmp_path, Office(), "sqlite") as w:
            departures = Departures(w.database, files, w.clock)
            with pytest.raises(Unavailable):
                await departures.delete("ana")
            with pytest.raises(Unauthenticated):
                await w.ask("Am I?", ANA)
            await departures.delete("ana")
            after = await look(w.database, ANA)
            assert {table for table, rows in after.items() if rows} == LEFT

    asyncio.run(scenario())


def test_leave_that_comes_late_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with filled(tmp_path, Office(), "sqlite") as w:
            (run_id,) = await w.database.read(SERVER, _waiting)
            await Departures(w.database, Shelves(), w.clock).delete("ana")
            leave = Approve("late", ApprovePayload(run_id, "c1", "allow", "00"))
            with pytest.raises(Unauthenticated):
                await w.router.accept(ANA, leave)

    asyncio.run(scenario())


async def _waiting(tx: Transaction) -> list[str]:
    rows = await tx.execute("select run_id from runs where user_id = 'ana' and state = 'waiting'")
    return [run_id for (run_id,) in rows]
