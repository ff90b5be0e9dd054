"""The history of real servers: killed, cut off from ClickHouse, and asked over HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness.cli import tidings
from tests.harness.clickhouse import ClickHouseDouble
from tests.harness.programs import historian
from tests.harness.server import ServerProcess, User, add_users
from tests.harness.tiers import database_of
from tidings.app import build
from tidings.domain.context import SERVER
from tidings.domain.errors import TidingsError
from tidings.storage.cold.clickhouse import ClickHouseHistory

PROGRAM = Path(historian.__file__)
PATIENCE_SECONDS = 30.0


async def chat(user: User, text: str) -> str:
    """Have a run of an agent end; return its thread."""
    async with user.connected() as client:
        answer = await client.ask(text, text.replace(" ", "-"), agent="echo")
        await client.until_end(answer["run_id"])
        return str(answer["thread_id"])


async def got(user: User, path: str) -> Any:
    return (await user.api._call("GET", path)).json()


async def until(found: Callable[[], Awaitable[bool]]) -> None:
    """Ask again until it is so; fail when it takes too long."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await found():  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)


async def has_counted(admin: User, runs: int) -> bool:
    return await counted(admin) == runs


async def counted(admin: User) -> int:
    """Return how many runs the history counts."""
    try:
        levels = await got(admin, "/api/admin/levels?days=2")
    except TidingsError:  # it is away
        return -1
    return sum(line["runs"] for line in levels["runs"])


async def administrator(server: ServerProcess) -> User:
    (admin,) = await add_users(server, "chief")
    app = build(server.settings)
    try:
        await app.identity.appoint("chief", admin=True)
    finally:
        await app.close()
    return admin


@pytest.mark.parametrize("store", ["parquet", "clickhouse"])
def test_the_history_is_served_to_its_owner_over_http(
    tmp_path: Path, store: str, request: pytest.FixtureRequest
) -> None:
    async def scenario(server: ServerProcess) -> None:
        ana, bob = await add_users(server, "ana", "bob")
        admin = await administrator(server)
        thread = await chat(ana, "good morning")
        await chat(bob, "hello")

        await until(lambda: has_counted(admin, 2))
        page = await got(ana, f"/api/threads/{thread}/history?limit=2")
        older = await got(ana, f"/api/threads/{thread}/history?before={page['before']}")
        types = [event["type"] for event in older["events"] + page["events"]]
        assert (types[0], types[-1]) == ("message_received", "agent_completed")
        assert (older["before"], older["missing"] + page["missing"]) == (None, 0)
        assert (await got(ana, "/api/usage?days=7"))["past"]["days"] == []  # it asked no model
        refusals = [(bob, f"/api/threads/{thread}/history", "not_found")]
        refusals += [(ana, f"/api/admin/{what}", "admin_only") for what in ("usage", "levels")]
        for user, path, code in refusals:
            with pytest.raises(TidingsError) as refusal:
                await got(user, path)
            assert refusal.value.code == code
        tiers = (await got(admin, "/api/health"))["sections"]["tiers"]
        (cold,) = [tier for tier in tiers if tier["name"] == "cold"]
        assert cold["state"] == "ok", cold
        shown = tidings("levels", "--data-dir", server.data_dir, **server.extra)
        assert "echo completed" in shown.out

        await ana.api._call("DELETE", f"/api/threads/{thread}")

        await until(lambda: has_counted(admin, 1))

    server = ServerProcess(tmp_path, PROGRAM)
    if store == "clickhouse":
        server.extra["TIDINGS_COLD_URL"] = request.getfixturevalue("clickhouse").url
    server.start()
    try:
        asyncio.run(scenario(server))
    finally:
        server.stop()


def test_f23_killed_servers_and_a_clickhouse_that_is_away_lose_and_double_nothing(
    tmp_path: Path, clickhouse: ClickHouseDouble
) -> None:
    """In each round something dies while runs are brought; then all of it is there, once."""

    async def scenario(server: ServerProcess) -> None:
        (ana,) = await add_users(server, "ana")
        admin = await administrator(server)
        threads = []
        for number in range(6):
            threads += [await chat(ana, f"message {number} {part}") for part in "abc"]
            if number % 2:
                server.kill()
                clickhouse.start()
                server.start()
            else:
                clickhouse.kill()
        clickhouse.start()

        await until(lambda: has_counted(admin, len(threads)))
        await asyncio.sleep(0.5)  # some turns in which nothing more may come
        assert await counted(admin) == len(threads)
        cold = ClickHouseHistory(clickhouse.url)
        for thread in threads:
            offsets = [event.last for event in await cold.story(SERVER, thread, 0)]
            assert offsets == list(range(1, len(offsets) + 1)), thread
        await cold.close()

    server = ServerProcess(tmp_path, PROGRAM)
    server.extra["TIDINGS_COLD_URL"] = clickhouse.url
    server.start()
    try:
        asyncio.run(scenario(server))
    finally:
        server.stop()


def test_what_a_killed_node_had_to_bring_another_node_brings(
    tmp_path: Path, clickhouse: ClickHouseDouble
) -> None:
    async def scenario(first: ServerProcess, second: ServerProcess) -> None:
        (ana,) = await add_users(first, "ana")
        admin = await administrator(first)
        await chat(ana, "the first has the duty")
        await until(lambda: has_counted(admin, 1))
        await asyncio.to_thread(second.start)
        clickhouse.kill()  # so that what ends now is left to be brought
        await chat(ana, "it dies with this")
        first.kill()
        clickhouse.start()
        await until(lambda: has_counted(User(second, admin.name, admin.token, admin.id), 2))

    nodes = [ServerProcess(tmp_path, PROGRAM) for _ in range(2)]
    for node in nodes:
        node.extra["TIDINGS_COLD_URL"] = clickhouse.url
        node.extra["TIDINGS_DATABASE_URL"] = database_of(tmp_path)
    nodes[0].start()
    try:
        asyncio.run(scenario(*nodes))
    finally:
        nodes[1].kill()
