"""The peers: what each keeps, how it is asked, and how it is installed and started."""

import asyncio
import json
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from bench.asking import Asker, Chat, Dialect, Post
from bench.peers.script import AGENT, QUESTION
from bench.processes import SERVER_CORE, Running, on_core

HERE = Path(__file__).parent
CACHE = Path(".bench").absolute()
UV = str(Path(".venv/bin/uv").absolute())
INSTALL_SECONDS_MAX = 300.0
START_SECONDS_MAX = 40.0
END_SECONDS = 3.0
PAUSE_SECONDS = 0.1


class Absent(Exception):
    """The peer cannot be measured here, and why."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A server to compare with; `folder` has its `server.py` and what it needs."""

    name: str
    folder: str
    keeps: str
    asker: Callable[[str], Asker]
    choice: str = ""

    @property
    def python(self) -> Path:
        return CACHE / "peers" / self.folder / "bin" / "python"


async def install(peer: Peer) -> None:
    """Make the peer's environment, unless it is there with what is asked for.

    Raises:
        Absent: it cannot be installed.
    """
    wanted = HERE / peer.folder / "requirements.txt"
    environment = peer.python.parents[1]
    done = environment / "installed.txt"
    if done.exists() and done.read_text() == wanted.read_text():
        return
    environment.parent.mkdir(parents=True, exist_ok=True)
    await _run(UV, "venv", "--quiet", "--clear", "--python", "3.11", str(environment))
    await _run(UV, "pip", "sync", "--quiet", "--python", str(peer.python), str(wanted))
    done.write_text(wanted.read_text())


@asynccontextmanager
async def running(peer: Peer) -> AsyncIterator[Running]:
    """Run the peer's server around the block, on the server's core.

    Raises:
        Absent: it does not start.
    """
    with (
        tempfile.TemporaryDirectory(dir=CACHE, prefix=peer.folder) as folder,
        (CACHE / f"{peer.folder}{peer.choice}.log").open("wb") as log,
    ):
        port = _free_port()
        process = await asyncio.create_subprocess_exec(
            *on_core(SERVER_CORE, str(peer.python), "-m", f"bench.peers.{peer.folder}.server"),
            *(str(port), folder, peer.choice),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | {"PYTHONPATH": str(CACHE.parent), "LOG_LEVEL": "WARNING"},
        )
        try:
            await _answers(process, port, log.name)
            yield Running(f"http://127.0.0.1:{port}", process.pid)
        finally:
            await _end(process)


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(INSTALL_SECONDS_MAX):
            said, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        raise Absent("it takes too long to install") from None
    if process.returncode:
        raise Absent(f"it does not install: {said.decode(errors='replace').strip()[-300:]}")


async def _answers(process: asyncio.subprocess.Process, port: int, log: str) -> None:
    """Wait until the server takes a connection."""
    try:
        async with asyncio.timeout(START_SECONDS_MAX):
            while process.returncode is None:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(PAUSE_SECONDS)
                else:
                    writer.close()
                    return
    except TimeoutError:
        pass
    raise Absent(f"it does not start; see {log}")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(END_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


_JSON = "application/json"
_USER_SAYS = {"role": "user", "content": QUESTION}
_AG_UI = Dialect(
    "/run",
    _JSON,
    lambda name: json.dumps(
        {
            "threadId": name,
            "runId": name,
            "messages": [{"id": "m1", **_USER_SAYS}],
            "state": {},
            "tools": [],
            "context": [],
            "forwardedProps": {},
        }
    ),
    end=b'"RUN_FINISHED"',
    failed=b'"RUN_ERROR"',
)
_AGNO = Dialect(
    f"/agents/{AGENT}/runs",
    "application/x-www-form-urlencoded",
    lambda name: urlencode({"message": QUESTION, "stream": "true", "session_id": name}),
    end=b"event: RunCompleted",
    failed=b"event: RunError",
)
_ADK = Dialect(
    "/run_sse",
    _JSON,
    lambda name: json.dumps(
        {
            "appName": AGENT,
            "userId": "user",
            "sessionId": name,
            "streaming": True,
            "newMessage": {"role": "user", "parts": [{"text": QUESTION}]},
        }
    ),
    end=b'"partial":false',
    failed=b'data: {"error',
)
_LANGGRAPH = Dialect(
    "/runs/stream",
    _JSON,
    lambda _name: json.dumps(
        {
            "assistant_id": AGENT,
            "input": {"messages": [_USER_SAYS]},
            "stream_mode": ["messages-tuple"],
        }
    ),
    end=b"event: messages",
    failed=b"event: error",
)

PEERS = (
    Peer("FastAPI + pydantic-ai", "ag_ui", "nothing", lambda name: Post(_AG_UI, name)),
    Peer("Chainlit", "chainlit", "nothing", Chat),
    Peer("LangGraph dev server", "langgraph", "nothing", lambda name: Post(_LANGGRAPH, name)),
    Peer("Agno, in memory", "agno", "nothing", lambda name: Post(_AGNO, name), "memory"),
    Peer("Agno, SQLite", "agno", "the ended run", lambda name: Post(_AGNO, name), "sqlite"),
    Peer("Google ADK, SQLite", "adk", "its events", lambda name: Post(_ADK, name)),
)
"""`keeps` says what is on disk."""
