"""A real server process on a real port, and clients that speak to it over real sockets."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TextIO

import httpx2
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.harness.balancer import Balancer
from tests.harness.forking import ForkedProcess
from tests.harness.ports import free_port
from tests.harness.tiers import TIERS, variables_of
from tidings.app import build
from tidings.client.http import Api
from tidings.domain.events import TERMINAL
from tidings.settings import Settings, load

ROOT = Path(__file__).parents[2]
READY_SECONDS = 60
PLACES = {"TIDINGS_DATABASE_URL", "TIDINGS_HOT_URL", "TIDINGS_COLD_URL"}
"""What says where a server keeps its data."""
ENVIRONMENT = {
    key: value
    for key, value in os.environ.items()
    if not key.startswith("TIDINGS_") or key.startswith("TIDINGS_TEST_")
} | {"PYTHONPATH": str(ROOT)}
"""What a child process is given: nothing that would change what it does."""
CRITICAL = (
    "agent_started",
    "agent_thinking",
    "tool_executing",
    "tool_completed",
    "agent_completed",
)


class ServerProcess:
    """A server as a child process; may be killed and started again on the same store.

    `program` serves instead of `tidings serve`: a script of a test's or an example's own.
    """

    def __init__(self, data_dir: Path, program: Path | None = None) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.extra: dict[str, str] = {}
        self.gateways = self.workers = self.nodes = [self]
        self._command = [str(program)] if program else ["-m", "tidings", "serve"]
        self._process: ForkedProcess | None = None
        self._out: TextIO | None = None

    def start(self) -> None:
        """Start it, and return when it is ready."""
        self.begin()
        self.until_ready()

    def begin(self) -> None:
        """Start it, and do not wait for it."""
        settings = variables_of(self.data_dir) | {"TIDINGS_PORT": str(self.port)}
        reading, writing = os.pipe()
        environment = ENVIRONMENT | settings | self.extra
        self._process = ForkedProcess(self._command, environment, (0, writing, 2))
        os.close(writing)
        self._out = os.fdopen(reading)

    def until_ready(self) -> None:
        """Wait until it is ready."""
        assert self._out is not None
        said = self._out.readline()
        assert said == f"ready {self.url}\n", said

    def wait(self) -> int:
        """Wait until the process ends by itself."""
        return self._finish()

    def kill(self) -> None:
        """kill -9: nothing in the process gets to say anything any more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._finish()

    def stop(self) -> int:
        """Stop it, and return its status when it has ended."""
        self.send_away()
        return self.wait()

    def send_away(self) -> None:
        """Tell it to stop, and do not wait for it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    @property
    def settings(self) -> Settings:
        """What an application in the test's own process needs to work on the same store."""
        places = {name: self.extra[name] for name in PLACES & self.extra.keys()}
        return load({}, variables_of(self.data_dir) | places)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def metric(self, name: str) -> float:
        """Return what all its processes have counted under a name, labels and all."""
        pages = [httpx2.get(f"{node.url}/metrics", trust_env=False).text for node in self.nodes]
        lines = [line.split() for page in pages for line in page.splitlines()]
        return sum(float(line[1]) for line in lines if line[0] == name)

    def close(self) -> None:
        """Let go of what is there beside the process."""

    def _finish(self) -> int:
        assert self._process is not None
        assert self._out is not None
        status = self._process.wait(READY_SECONDS)
        self._out.close()
        self._process = None
        return status


class FleetProcess(ServerProcess):
    """Gateways and workers, and one address for the gateways.

    They start, stop and die as a whole, and so may each of them.
    """

    def __init__(
        self, data_dir: Path, program: Path | None = None, gateways: int = 2, workers: int = 2
    ) -> None:
        super().__init__(data_dir, program)
        self.gateways = [ServerProcess(data_dir, program) for _ in range(gateways)]
        self.workers = [ServerProcess(data_dir, program) for _ in range(workers)]
        self.nodes = self.gateways + self.workers
        self._balancer = Balancer(self.port, [gateway.port for gateway in self.gateways])
        self._balancer.start()

    def begin(self) -> None:
        for role, nodes in (("gateway", self.gateways), ("worker", self.workers)):
            for node in nodes:
                node.extra = {"TIDINGS_ROLE": role} | self.extra
                node.begin()

    def until_ready(self) -> None:
        for node in self.nodes:
            node.until_ready()

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()

    def send_away(self) -> None:
        for node in self.nodes:
            node.send_away()

    def is_running(self) -> bool:
        return any(node.is_running() for node in self.nodes)

    @property
    def pid(self) -> int:
        """The id of the first gateway."""
        return self.nodes[0].pid

    def wait(self) -> int:
        return max(node.wait() for node in self.nodes)

    def close(self) -> None:
        self._balancer.stop()


def a_server(data_dir: Path, program: Path | None = None) -> ServerProcess:
    """Return what serves a data folder on this session's tiers, not started yet."""
    return (FleetProcess if TIERS == "fleet" else ServerProcess)(data_dir, program)


class User:
    """Someone with an account, a token, and perhaps a file."""

    def __init__(self, server: ServerProcess, name: str, token: str, id: str) -> None:
        self.id = id
        self.name = name
        self.token = token
        self.server = server
        self.api = Api(server.url, token)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator["Client"]:
        """Open a plain connection: any WebSocket library, one header, no hello."""
        headers = {"Authorization": f"Bearer {self.token}"}
        url = self.server.url.replace("http", "ws") + "/ws"
        async with connect(url, additional_headers=headers, proxy=None) as socket_:
            client = Client(socket_)
            assert (await client.next())["type"] == "connection_established"
            yield client

    async def upload(self, path: Path) -> str:
        return str((await self.api.upload(path))["file_id"])


class Client:
    """A plain client: sends frames, keeps everything it hears with the time it heard it."""

    def __init__(self, socket_: ClientConnection) -> None:
        self.socket = socket_
        self.heard: list[dict[str, Any]] = []
        self.at: list[float] = []
        self.bytes = b""

    async def send(self, frame: Any) -> None:
        await self.socket.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(60):
            text = await self.socket.recv()
        assert isinstance(text, str)
        self.at.append(time.time())
        self.bytes += text.encode()
        frame: dict[str, Any] = json.loads(text)
        self.heard.append(frame)
        return frame

    async def closed(self) -> int:
        """Hear everything until the server closes; return the code it closed with."""
        try:
            while True:
                await self.next()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006

    async def ask(self, text: str, id: str, **payload: Any) -> dict[str, Any]:
        """Start a run and return the answer to the command."""
        payload = {"user_request": text} | payload
        await self.send({"type": "start_agent", "id": id, "payload": payload})
        return await self.until(lambda frame: frame.get("ref") == id)

    async def until(self, found: Any) -> dict[str, Any]:
        while True:
            frame = await self.next()
            if found(frame):
                return frame

    async def until_end(self, run_id: str) -> list[dict[str, Any]]:
        """Return all events of a run that were heard, once its end was."""
        if not any(e.get("run_id") == run_id and e["type"] in TERMINAL for e in self.heard):
            await self.until(lambda f: f.get("run_id") == run_id and f["type"] in TERMINAL)
        return [e for e in self.heard if e.get("run_id") == run_id and "event_id" in e]


@contextmanager
def serving(data_dir: Path, program: Path | None = None) -> Iterator[ServerProcess]:
    """Have a server run around the block."""
    server = a_server(data_dir, program)
    server.start()
    try:
        yield server
    finally:
        if server.is_running():
            server.stop()
        server.close()


async def add_users(server: ServerProcess, *names: str) -> list[User]:
    """Make accounts and sign them in, as the operator of the machine does."""
    app = build(server.settings)
    try:
        users = []
        for name in names:
            made = await app.identity.add_user(name, f"the password of {name}")
            token = await app.identity.issue_token(name)
            users.append(User(server, name, token, made.user_id))
        return users
    finally:
        await app.close()


def check_story(events: list[dict[str, Any]]) -> None:
    """Check what holds for every completed run, wherever it was interrupted."""
    types = [e["type"] for e in events]
    assert [e["offset"] for e in events] == list(
        range(events[0]["offset"], events[0]["offset"] + len(events))
    )
    assert len({e["event_id"] for e in events}) == len(events)
    assert types[0] == "message_received"
    first = next(t for t in types if t not in {"message_received", "notice"})
    assert first == "agent_started"
    assert types.count("agent_started") == 1
    assert types[-1] == "agent_completed"
    assert sum(t in TERMINAL for t in types) == 1
    for critical in CRITICAL:
        assert critical in types
    begun = [e["payload"]["call_id"] for e in events if e["type"] == "tool_executing"]
    ended = [e["payload"]["call_id"] for e in events if e["type"] == "tool_completed"]
    assert len(set(begun)) == len(begun)
    assert sorted(begun) == sorted(ended)
    assert _is_nested(events)


def _is_nested(events: list[dict[str, Any]]) -> bool:
    open_agents: list[str] = []
    for event in events:
        if event["type"] == "subagent_started":
            open_agents.append(event["agent"])
        elif event["type"] == "subagent_completed" and open_agents.pop() != event["agent"]:
            return False
    return not open_agents
