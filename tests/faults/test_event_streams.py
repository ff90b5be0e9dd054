"""F43, and F6 over HTTP: event streams that are held back, cut, or not read."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from starlette.types import Receive, Scope, Send

from tests.faults.devices import eventually
from tests.faults.served import QuietServer
from tests.harness.ports import free_port
from tests.harness.proxy import FaultProxy, proxying
from tests.harness.server import User
from tests.harness.stored import stored_streams
from tests.invariants import History, check
from tests.stores import rows_of
from tidings.domain.events import thread_stream
from tidings.gateway.wire import BoundedHttp


class EventSource:
    """Applies what a stream of events brings, and keeps the last id."""

    def __init__(self, user: User, thread_id: str, history: History) -> None:
        self.history = history
        self.last_id = "0"
        self._user = user
        self._thread_id = thread_id

    @asynccontextmanager
    async def open(self, proxy: FaultProxy) -> AsyncIterator[asyncio.StreamReader]:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        request = (
            f"GET /api/threads/{self._thread_id}/events HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {self._user.token}\r\nLast-Event-ID: {self.last_id}\r\n\r\n"
        )
        writer.write(request.encode())
        try:
            yield reader
        finally:
            writer.close()

    async def read(self, reader: asyncio.StreamReader) -> None:
        """Apply events until the stream is live or cut; half an event is none."""
        given = ""
        try:
            while line := await line_of(reader):
                field, _, value = line.decode().rstrip("\n").partition(": ")
                if field == "id":
                    given = value
                elif field == "data" and '"type":"live"' in value:
                    return
                elif field == "data" and line.endswith(b"\n"):
                    self.last_id = given
                    self.history.applied(self.stream, value.encode(), given)
        except ConnectionResetError:
            return

    @property
    def stream(self) -> str:
        return thread_stream(self._thread_id)

    async def poll(self) -> int:
        """Take the next page over HTTP instead; return how many events there are beyond it."""
        async with httpx2.AsyncClient() as client:
            answer = await client.get(
                f"{self._user.server.url}/api/streams/{self.stream}/events",
                params={"after": self.last_id, "limit": 3},
                headers={"Authorization": f"Bearer {self._user.token}"},
            )
        page: dict[str, Any] = answer.json()
        for event in page["events"]:
            self.last_id = f"{event['epoch']}.{event['offset']}.{event['event_id'][-8:]}"
            frame = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()
            self.history.applied(self.stream, frame, self.last_id)
        return int(page["head"]) - int(self.last_id.split(".")[1])


def test_f43_a_stream_that_is_held_back_or_cut_goes_on_by_its_last_id_or_by_pages(
    user: User,
) -> None:
    async def scenario() -> None:
        async with user.connected() as client:
            accepted = await client.ask("What can you do?", "m1")
            await client.until_end(accepted["run_id"])
        data_dir = user.server.data_dir
        ((owner,),) = rows_of(data_dir, "select user_id from users where name = ?", user.name)
        source = EventSource(user, accepted["thread_id"], History(owner, "page"))
        async with proxying(user.server.port) as proxy:
            for size in (900, 1_500, 2_500):
                proxy.down.reset_after = size
                async with source.open(proxy) as reader:
                    await source.read(reader)
            proxy.calm()
            proxy.down.block()
            async with source.open(proxy) as reader:
                assert await is_silent(reader)  # held back: ask for a page instead
            await source.poll()
            proxy.calm()
            async with source.open(proxy) as reader:
                await source.read(reader)
            assert await source.poll() == 0
        check(stored_streams(data_dir), [source.history], at_head=True)

    asyncio.run(scenario())


async def line_of(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(60):
        return await reader.readline()


async def is_silent(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(0.3):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


def test_f06_an_answer_that_nobody_takes_is_dropped(tmp_path: Path) -> None:
    class Impatient(BoundedHttp):
        send_seconds = 0.3

    ended = asyncio.Event()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while not gone.is_set():
                body = b"x" * 65_536
                await send({"type": "http.response.body", "body": body, "more_body": True})
                await asyncio.sleep(0)
        finally:
            ended.set()

    gone = asyncio.Event()

    async def scenario() -> None:
        port = free_port()
        config = uvicorn.Config(
            endless, http=Impatient, ws="none", lifespan="off", log_config=None, port=port
        )
        server = QuietServer(config)
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(server.serve())
            await eventually(lambda: server.started)
            async with proxying(port) as proxy:
                _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
                proxy.down.block()
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                await eventually(lambda: not server.server_state.connections)
                gone.set()
                async with asyncio.timeout(60):
                    await ended.wait()
                writer.close()
            server.should_exit = True
            await serving

    asyncio.run(scenario())
