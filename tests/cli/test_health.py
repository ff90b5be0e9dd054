"""`tidings health`: what an administrator of the machine reads of the running server."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.harness.cli import refused, tidings
from tests.harness.programs import failing
from tests.harness.server import ServerProcess, add_users, serving
from tidings.app import build
from tidings.settings import load


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServerProcess]:
    with serving(tmp_path / "data", Path(failing.__file__)) as process:
        yield process


def test_it_says_how_the_server_is_and_what_users_notice(served: ServerProcess) -> None:
    folder = ("--data-dir", served.data_dir)
    refused(tidings("health", *folder), "user_unclear")
    ana, bob, root = asyncio.run(add_users(served, "ana", "bob", "root"))
    refused(tidings("health", *folder, "--user", "ana"), "admin_only")
    tidings("user", "promote", "root", *folder)
    well = tidings("health", *folder)
    assert (well.status, well.err) == (0, "")
    assert well.out.startswith("✔ ok  All is well.")
    for word in ("warm", "hot", "tidings:planner", "analysis", "worker", "event loop", "disk"):
        assert word in well.out

    async def fail() -> None:
        for number in range(6):
            user = (ana, bob)[number % 2]
            async with user.connected() as client:
                accepted = await client.ask("Fail.", f"c{number}", agent="fails")
                await client.until_end(accepted["run_id"])
        await asyncio.sleep(2.5)  # the lookout looks once a second

    asyncio.run(fail())
    degraded = tidings("health", *folder, TIDINGS_TOKEN=root.token)
    assert degraded.status == 3
    assert "agents_resting  fails (6 of 6 failed)" in degraded.out
    assert "users: Some answers come from a stand-in, or fail." in degraded.out
    served.stop()
    refused(tidings("health", *folder), "server_unreachable")


def test_a_blocked_loop_is_in_the_log_with_its_line_and_on_the_view(served: ServerProcess) -> None:
    async def scenario() -> None:
        [root] = await add_users(served, "root")
        await promote(served)
        async with root.connected() as client:
            accepted = await client.ask("Block.", "c1", agent="blocks")
            await client.until_end(accepted["run_id"])
        headers = {"authorization": f"Bearer {root.token}"}
        async with httpx2.AsyncClient(trust_env=False, headers=headers) as http:
            loop = (await http.get(f"{served.url}/api/health")).json()["sections"]["loop"]
        assert loop["blocks"] >= 1  # a busy machine may have held it up, too
        assert loop["lag_seconds_max"] >= failing.BLOCK_SECONDS / 2
        line = failing.blocks.__code__.co_firstlineno + 1
        assert loop["last_block"] == f"{failing.__file__}:{line} blocks"

    asyncio.run(scenario())


async def promote(served: ServerProcess) -> None:
    app = build(load({"data_dir": served.data_dir}))
    try:
        await app.identity.appoint("root", admin=True)
    finally:
        await app.close()
