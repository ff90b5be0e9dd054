"""The example of a client: a process of its own, that meets what clients meet."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from tests.harness.server import ENVIRONMENT, ROOT, add_users, serving


def test_a_client_of_ones_own_hears_everything_once_over_a_kill_of_the_server(
    tmp_path: Path,
) -> None:
    with serving(tmp_path / "data", ROOT / "examples" / "own_agent.py") as server:
        (ana,) = asyncio.run(add_users(server, "ana"))
        program = [sys.executable, str(ROOT / "examples" / "own_client.py")]
        url = server.url.replace("http", "ws")
        with subprocess.Popen(
            [*program, url, ana.token, "What did we spend?"],
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        ) as client:
            assert client.stdout is not None
            heard = [client.stdout.readline()]
            server.kill()
            server.start()
            heard += client.stdout.readlines()
        assert client.returncode == 0
    events = [json.loads(line) for line in heard]
    assert [event["offset"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "agent_completed"


def test_a_client_of_ones_own_does_not_come_back_when_told_not_to(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        url = server.url.replace("http", "ws")
        program = [sys.executable, str(ROOT / "examples" / "own_client.py")]
        ran = subprocess.run(
            [*program, url, "nonsense", "hi"],
            check=False,
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
            timeout=30,
        )
    assert ran.returncode == 1
    assert "4401" in ran.stderr
