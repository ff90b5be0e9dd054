"""A server with a tool server of its operator's: a run, leave, changes, and nothing left over."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from tests.harness.cli import refused, tidings
from tests.harness.server import Client, ServerProcess, a_server, add_users

PROGRAM = Path(__file__).parents[1] / "harness" / "programs" / "tool_server.py"


def configured(path: Path) -> dict[str, str]:
    """Write the operator's file; return the settings and variables that go with it."""
    file = path / "servers.toml"
    file.write_text(
        f'[servers.test]\ncommand = ["{sys.executable}", "{PROGRAM}"]\nenvironment = ["NOTES"]\n'
        '[servers.test.tools.echo]\neffect = "read"\n'
    )
    return {
        "TIDINGS_MCP_FILE": str(file),
        "TIDINGS_PLUGINS": "tests.harness.programs.tool_user:register",
        "NOTES": str(path / "notes"),
    }


@contextmanager
def served(path: Path) -> Iterator[ServerProcess]:
    server = a_server(path / "data")
    server.extra = configured(path)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        server.close()
    notes = (path / "notes").read_text().splitlines()
    for pid in [int(line.split()[1]) for line in notes if line.startswith("pid ")]:
        with suppress(ProcessLookupError):
            os.kill(pid, 0)
            raise AssertionError(f"the tool server {pid} is left over")


async def answer(client: Client, text: str, id: str, agent: str) -> str:
    accepted = await client.ask(text, id, agent=agent)
    events = await client.until_end(accepted["run_id"])
    return str(events[-1]["payload"]["answer"])


async def met(client: Client) -> None:
    """Wait until the server has met its tool server for the first time."""
    for number in count():
        if await answer(client, "up?", f"m{number}", "echo") != "unknown_tool":
            return
        await asyncio.sleep(0.1)


def test_a_run_uses_a_tool_of_a_server_and_a_change_stops_it(tmp_path: Path) -> None:
    async def scenario(server: ServerProcess) -> None:
        (ana,) = await add_users(server, "ana")
        async with ana.connected() as client:
            await met(client)
            assert (await answer(client, "hello", "m", "echo")).startswith("hello")
            done = [e["payload"] for e in client.heard if e["type"] == "tool_completed"][-1]
            assert (done["tool"], done["ok"]) == ("test.echo", True)

    with served(tmp_path) as server:
        asyncio.run(scenario(server))
        told = tidings("tools", "--data-dir", server.data_dir, **configured(tmp_path))
        assert told.status == 0
        assert "test  up" in told.out
        assert "read  accepted" in told.out
        assert "It is listed twice." in told.out

    (tmp_path / "notes.changed").touch()
    changed = tidings("tools", "--data-dir", server.data_dir, **configured(tmp_path))
    assert changed.status == 1
    assert "read  changed" in changed.out
    accepted = tidings("tools", "--accept", "test", "--data-dir", server.data_dir,
                       **configured(tmp_path))  # fmt: skip
    assert accepted.out.splitlines()[0] == "accepted test: echo, fresh"
    assert "changed" not in accepted.out.partition("\n")[2]
    unknown = tidings("tools", "--accept", "x", "--data-dir", server.data_dir,
                      **configured(tmp_path))  # fmt: skip
    refused(unknown, "unknown_server")


def test_an_agent_that_obeys_what_a_tool_says_does_nothing_without_leave(tmp_path: Path) -> None:
    async def scenario(server: ServerProcess) -> None:
        (ana,) = await add_users(server, "ana")
        async with ana.connected() as client:
            await met(client)
            await client.ask("Look at it", "obey", agent="hijacked")
            while not (asked := [f for f in client.heard if f["type"] == "approval_required"]):
                await client.next()
            assert asked[0]["payload"]["tool"] == "test.repeat"
            assert asked[0]["payload"]["arguments"] == {"times": 3}

    with served(tmp_path) as server:
        asyncio.run(scenario(server))
    assert "called repeat" not in (tmp_path / "notes").read_text()


def test_after_kill_9_nothing_is_left_of_a_program_that_ignores_its_end(tmp_path: Path) -> None:
    (tmp_path / "notes.stays").touch()
    server = a_server(tmp_path / "data")
    server.extra = configured(tmp_path)
    server.start()

    async def scenario() -> list[int]:
        (ana,) = await add_users(server, "ana")
        async with ana.connected() as client:
            await met(client)
        server.kill()
        lines = (tmp_path / "notes").read_text().splitlines()
        started = [int(line.split()[1]) for line in lines if line.startswith(("pid ", "child "))]
        async with asyncio.timeout(60):
            while any(lives(pid) for pid in started):  # noqa: ASYNC110 - a process of another
                await asyncio.sleep(0.02)
        return started

    assert len(asyncio.run(scenario())) == 2 * len(server.workers)


def lives(pid: int) -> bool:
    """Return whether a process is there, and not only waiting to be counted by its parent."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_without_a_file_there_are_no_tool_servers(tmp_path: Path) -> None:
    assert "no tool servers" in tidings("tools", "--data-dir", tmp_path).out
    refused(tidings("tools", "--data-dir", tmp_path, TIDINGS_MCP_FILE="/no/such"), "bad_setting")
