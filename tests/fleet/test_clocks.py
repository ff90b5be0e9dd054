"""Nodes whose clocks differ: what they compare with each other is the database's time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import permutations
from pathlib import Path
from random import Random

import pytest

from tests.faults.served import ShiftedClock, tell
from tests.harness.postgres import PostgresServer, postgres
from tests.stores import rows_of
from tests.world import ANA, World
from tidings.app import App, build
from tidings.app.system import Around
from tidings.domain.commands import Chat, ChatPayload, StartAgent, StartPayload
from tidings.domain.context import SERVER
from tidings.domain.runs import Outcome, Run
from tidings.events.shared_lineage import SharedLineage
from tidings.health.nodes import Node, NodeReport
from tidings.health.overview import ServerHealth
from tidings.health.roster import BEAT_SECONDS, Roster
from tidings.identity.tokens import Tokens
from tidings.runs import queue
from tidings.runs.context import RunContext
from tidings.runs.queue import Limits
from tidings.settings import load
from tidings.storage.hot.memory import LocalHints
from tidings.storage.warm.clock import StoreClock
from tidings.storage.warm.duties import Duty
from tidings.storage.warm.postgres.database import PostgresDatabase
from tidings.system import UlidSource, process_name

HOUR = 3600.0
PATIENCE_SECONDS = 60.0
PATIENT = Limits(lease_seconds=120.0, run_seconds=300.0)
KEY = b"k" * 32
APART = [5.0, -60.0, HOUR, -HOUR]


@pytest.fixture
def url() -> Iterator[str]:
    """A database of the test's own."""
    url = postgres().database()
    yield url
    postgres().drop(url)


def wrong_by(seconds: float) -> ShiftedClock:
    clock = ShiftedClock()
    clock.wall = seconds
    return clock


@asynccontextmanager
async def node(url: str, ahead: float) -> AsyncIterator[World]:
    """Have a node whose machine's clock is so far ahead; nothing runs by itself."""
    clock, hints = StoreClock(wrong_by(ahead)), LocalHints()
    lineage = SharedLineage(clock, UlidSource(clock), hints)
    database = PostgresDatabase(url, hints.publish, Random(1), 4, arrivals=lineage)
    try:
        await database.check()
        yield World(database, hints, {"teller": tell}, clock=clock, limits=PATIENT)
    finally:
        await database.close()


@pytest.mark.parametrize("ahead", APART)
def test_no_node_takes_over_or_ends_what_is_anothers(url: str, ahead: float) -> None:
    async def scenario() -> None:
        async with node(url, 0.0) as right, node(url, ahead) as wrong:
            await right.begin()
            await right.ask("tell 1 0")
            (held,) = await right.worker._claim()
            assert await wrong.worker._claim() == []
            await right.database.write(SERVER, lambda tx: queue.held(tx, held))
            await wrong.ask("tell 1 0")
            (taken,) = await right.worker._claim()
            for each in (right, wrong):
                left = taken.remaining_seconds(each.clock.now())
                assert 0 < left <= PATIENT.run_seconds + 1.0

            duties = [
                Duty(each.database, each.clock, "one", name, 60.0)
                for name, each in (("right", right), ("wrong", wrong))
            ]
            assert [await duty.mine() for duty in duties] == [True, False]

    asyncio.run(scenario())


@pytest.mark.parametrize("ahead", APART)
def test_no_node_is_missed_and_no_token_refused(url: str, ahead: float) -> None:
    async def scenario() -> None:
        async with node(url, 0.0) as right, node(url, ahead) as wrong:
            rosters = [
                Roster(each.database, Node(f"n_{n}", f"{n}", "all", "1", 0.0), 4, each.clock)
                for n, each in enumerate((right, wrong))
            ]
            for roster in rosters * 2:
                await roster.beat(NodeReport(room=16))
            for roster in rosters:
                assert [found.state for found in roster.nodes] == ["up", "up"]
                begun = [found.started_at for found in roster.nodes]
                assert max(begun) - min(begun) < PATIENCE_SECONDS
            tokens = Tokens(KEY)
            for one, other in permutations((right, wrong)):
                tokens.verify(tokens.issue(ANA, "t", one.clock.now()), other.clock.now())

    asyncio.run(scenario())


async def waits(ctx: RunContext) -> Outcome:
    """Be under way until the node ends."""
    await ctx.plan("Wait.", ["wait"])
    await asyncio.Event().wait()
    return Outcome("never")


@asynccontextmanager
async def app_of(folder: Path, url: str, role: str, clock: ShiftedClock) -> AsyncIterator[App]:
    settings = {"data_dir": folder, "database_url": url, "role": role, "database_connections": 4}
    app = build(load(settings, {}), None, Around(clock))
    app.agents.register("waits", "A test's.", waits)
    await app.begin()
    try:
        async with app.running():
            yield app
    finally:
        await app.close()


def told(metrics: bytes) -> dict[str, float]:
    """Return what is told of clocks."""
    lines = [line for line in metrics.decode().splitlines() if line.startswith("tidings_c")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_a_fleet_works_as_one_and_says_whose_clock_is_wrong(tmp_path: Path, url: str) -> None:
    async def scenario() -> None:
        fast, slow = wrong_by(HOUR), wrong_by(-HOUR)
        async with AsyncExitStack() as nodes:
            ahead = await nodes.enter_async_context(app_of(tmp_path, url, "gateway", fast))
            behind = await nodes.enter_async_context(app_of(tmp_path, url, "all", slow))
            await ahead.identity.add_user("ana", "a long enough password")
            token = await ahead.identity.issue_token("ana")
            ana = await behind.identity.authenticate(token)
            first = await ahead.services.router.accept(
                ana, StartAgent("m0", StartPayload("?", "waits"))
            )
            sent = [first.run_id]
            for number, app in enumerate([ahead, behind, ahead, behind], 1):
                said = Chat(f"m{number}", ChatPayload("?", first.thread_id))
                sent.append((await app.services.router.accept(ana, said)).run_id)
            found = rows_of(url, "select run_id from runs order by created_at")
            assert [run_id for (run_id,) in found] == sent

            await until_told(ahead, "this machine's clock is 3600 s ahead of")
            await until_told(behind, "this machine's clock is 3600 s behind")
            figures = told(behind.services.metrics.render())
            assert figures["tidings_clock_ahead_seconds"] == pytest.approx(-HOUR, abs=60.0)

            before = behind.services.clock.now()
            slow.wall = 0.0  # somebody sets it right: nothing moves but the concern
            assert 0.0 <= behind.services.clock.now() - before < PATIENCE_SECONDS
            await until_told(behind, f"{process_name()}: this machine's clock is 3600 s ahead of")
            for app in (ahead, behind):
                await until(app, has_both)
            states = rows_of(url, "select state from runs order by created_at")
            assert states == [("running",), *[("queued",)] * 4]

    asyncio.run(scenario())


def test_who_begins_while_the_store_is_away_does_nothing_by_its_own_time(tmp_path: Path) -> None:
    server = PostgresServer()
    url = server.database()

    async def held() -> Run:
        async with node(url, 0.0) as right:
            await right.begin()
            await right.ask("tell 1 0")
            (run,) = await right.worker._claim()
            return run

    async def scenario() -> None:
        run = await held()
        await asyncio.to_thread(server.kill)
        async with app_of(tmp_path, url, "worker", wrong_by(HOUR)) as late:
            await asyncio.to_thread(server.start)
            await until(late, lambda health: bool(health.sections.nodes))
            async with node(url, 0.0) as right:
                await right.database.write(SERVER, lambda tx: queue.held(tx, run))

    try:
        asyncio.run(scenario())
    finally:
        server.close()


async def until_told(app: App, words: str) -> None:
    """Look until this is said of clocks."""

    def is_told(health: ServerHealth) -> bool:
        concerns = [one.detail for one in health.concerns if one.code == "clock_differs"]
        return "".join(concerns).startswith(words)

    await until(app, is_told)


def has_both(health: ServerHealth) -> bool:
    return [node.state for node in health.sections.nodes] == ["up", "up"]


async def until(app: App, is_so: Callable[[ServerHealth], bool]) -> None:
    """Look until the health is so: nodes hear of each other every few seconds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not is_so(await app.services.health.now()):  # noqa: ASYNC110 - another node's
            await asyncio.sleep(BEAT_SECONDS / 10)
