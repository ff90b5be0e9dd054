"""The TypeScript client: it does what the vectors say, also against a real server, and the page has
its newest build."""

import asyncio
import json
import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conformance import vectors
from tests.harness.server import ROOT, User, add_users, serving
from tidings.analysis.workload import generate, write_csv

SOURCE = ROOT / "web" / "client"
TESTS = SOURCE / "test"
BUILT = ROOT / "src" / "tidings" / "gateway" / "page" / "client"
COMPILER = SOURCE / "node_modules" / ".bin" / "tsc"
NODE = shutil.which("node")
NODE_SECONDS = 100
FIRST_WITH_WEBSOCKET = 22


def node(file: str, **environment: str | Path) -> "subprocess.Popen[str]":
    """Start the tests of a file under node."""
    if NODE is None:
        pytest.skip("node is not installed: the TypeScript client is not run here")
    given = os.environ | {"CLIENT": str(BUILT)} | {k: str(v) for k, v in environment.items()}
    return subprocess.Popen(
        [NODE, *_flags(NODE), "--test", TESTS / file],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=given,
    )


def _flags(program: str) -> list[str]:
    """Return what makes this version of node have a WebSocket."""
    said = subprocess.run([program, "--version"], check=True, capture_output=True, text=True)
    major = int(said.stdout.removeprefix("v").partition(".")[0])
    return ["--experimental-websocket"] if major < FIRST_WITH_WEBSOCKET else []


def check(running: "subprocess.Popen[str]") -> None:
    """Wait for the tests; fail with what they said."""
    said, _ = running.communicate(timeout=NODE_SECONDS)
    assert running.returncode == 0, said


def test_the_core_does_what_the_vectors_say(tmp_path: Path) -> None:
    data = tmp_path / "vectors.json"
    data.write_text(json.dumps(vectors.load("client")))
    check(node("vectors.test.js", VECTORS=data))


def test_the_session_comes_back_moves_and_stops_when_it_should() -> None:
    check(node("session.test.js"))


def test_the_session_gets_every_event_once_over_real_sockets(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        (ana,) = asyncio.run(add_users(server, "ana"))
        check(node("live.test.js", SERVER=server.url, TOKEN=ana.token))


def test_the_session_survives_a_restart_of_the_server(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        (ana,) = asyncio.run(add_users(server, "ana"))
        file = asyncio.run(uploaded(ana, tmp_path / "usage.csv"))
        running = node(
            "restart.test.js", SERVER=server.url, TOKEN=ana.token, PID=str(server.pid), FILE=file
        )
        server.wait()
        server.start()
        check(running)


async def uploaded(user: User, path: Path) -> str:
    with path.open("w", newline="") as file:
        write_csv(generate(random.Random(3), 2_000), file)
    return await user.upload(path)


def test_the_client_that_the_readme_shows_works(tmp_path: Path) -> None:
    if NODE is None:
        pytest.skip("node is not installed: the TypeScript client is not run here")
    shown = re.findall(r"^```ts\n(.*?)^```", (SOURCE / "README.md").read_text(), re.M | re.S)[0]
    with serving(tmp_path / "data") as server:
        (ana,) = asyncio.run(add_users(server, "ana"))
        program = tmp_path / "readme.mjs"
        program.write_text(
            shown.replace("tidings-client", (BUILT / "index.js").as_uri()).replace(
                "ws://127.0.0.1:8420", server.url.replace("http", "ws")
            )
        )
        ran = subprocess.run(
            [NODE, *_flags(NODE), program],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | {"TOKEN": ana.token},
            timeout=NODE_SECONDS,
        )
    assert "1 message_received" in ran.stdout
    assert "agent_completed" in ran.stdout


def test_the_page_has_the_client_as_it_is_written(tmp_path: Path) -> None:
    if NODE is None or not COMPILER.exists():
        pytest.skip("node or typescript is not installed (make client): nothing can be compiled")
    compiled = ["--outDir", str(tmp_path / "dist"), "--declaration", "false"]
    subprocess.run([COMPILER, "-p", SOURCE, *compiled], check=True, timeout=NODE_SECONDS)
    placed = tmp_path / "client"
    subprocess.run([NODE, SOURCE / "place.mjs", tmp_path / "dist", placed], check=True)
    assert read(placed) == read(BUILT)


def read(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}
