"""Clients that come back: from a pause, all at once, after the server's death."""

import asyncio
import random
import tempfile
import time
from collections.abc import Callable

from bench.processes import Served, served
from bench.tables import percentile, table
from bench.wire import Reader

MISSED = 1_000
CROWD = 2_000
RETRY_SECONDS = 0.05
PATIENCE_SECONDS = 30.0


class Return:
    """One client that comes back for what it has missed."""

    def __init__(self) -> None:
        self.reader = Reader()
        self.live: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.bytes = 0
        self.reader.on_events = self._on_events
        self.reader.on_live = self._on_live

    def _on_events(self, message: bytes, _count: int) -> None:
        self.bytes += len(message)

    def _on_live(self) -> None:
        self.live.set_result(time.monotonic())


async def resume(kind: str) -> tuple[float, int, int]:
    """Return the ms, events and KiB until a client has the MISSED events of a kind."""
    async with served("product") as server:
        (stream,) = (await server.tell("open", connections=1))["streams"]
        await server.tell("fill", events=MISSED, kind=kind)
        took: list[tuple[float, int, int]] = []
        for _ in range(3):
            client, begun = Return(), time.monotonic()
            await client.reader.connect(server.url, server.tokens[0], stream)
            ended = await client.live
            client.reader.wire.close()
            took.append(((ended - begun) * 1000, client.reader.events, client.bytes // 1024))
        return min(took)


async def crowd() -> list[float]:
    """Cut CROWD clients, let each miss an event, have all return at once; ms until each is live."""
    async with served("product") as server:
        streams = (await server.tell("open", connections=CROWD))["streams"]
        await asyncio.sleep(CROWD / 500)
        for number, stream in enumerate(streams):
            (await _admitted(server, Reader, number, stream)).wire.close()
        await server.tell("fill", events=1, kind="notice")
        await asyncio.sleep(CROWD / 500)
        begun = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            back = [
                tasks.create_task(_back(server, number, stream))
                for number, stream in enumerate(streams)
            ]
        return [(task.result() - begun) * 1000 for task in back]


async def _back(server: Served, number: int, stream: str) -> float:
    clients: list[Return] = []

    def another() -> Reader:
        clients.append(Return())
        return clients[-1].reader

    await _admitted(server, another, number, stream)
    return await clients[-1].live


async def _admitted(
    server: Served, another: Callable[[], Reader], number: int, stream: str
) -> Reader:
    """Connect; when told to come later, come then, at random, as the protocol asks."""
    token = server.tokens[number % len(server.tokens)]
    tries = 0
    while True:
        reader = another()
        try:
            await reader.connect(server.url, token, stream)
        except ConnectionRefusedError as refused:
            tries += 1
            wait = int(str(refused)) / 1000
            await asyncio.sleep(wait + random.uniform(0, min(30, 0.5 * 2**tries)))
        else:
            return reader


async def crash() -> tuple[float, float]:
    """Kill the server under a working run; seconds until it is up, until the stream goes on."""
    with tempfile.TemporaryDirectory(dir=".", prefix=".bench-") as folder:
        async with served("product", folder) as server:
            port = int(server.url.rpartition(":")[2])
            reader = Reader()
            thread: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            reader.on_other = lambda message: _thread_of(message, thread)  # type: ignore[method-assign]
            await reader.connect(server.url, server.tokens[0])
            ask = {"user_request": "go on", "agent": "steady"}
            reader.wire.send({"type": "start_agent", "id": "c1", "payload": ask})
            stream = f"thread:{await thread}"
            await asyncio.sleep(1)
            had = reader.events
            server.kill()
            killed = time.monotonic()
        async with served("product", folder, port) as server:
            up = time.monotonic()
            again = Return()
            await again.reader.connect(server.url, server.tokens[0], stream, str(had))
            while not again.reader.events:
                await asyncio.sleep(0.001)
            return up - killed, time.monotonic() - killed


def _thread_of(message: bytes, thread: asyncio.Future[str]) -> None:
    _, mark, rest = message.partition(b'"thread_id":"')
    if mark and not thread.done():
        thread.set_result(rest[: rest.index(b'"')].decode())


async def report() -> str:
    """Return the tables of this part."""
    rows: list[list[object]] = []
    for kind, name in (("notice", "events"), ("answer_delta", "pieces of one answer, joined")):
        ms, frames, kib = await resume(kind)
        rows.append([f"{MISSED:,} missed {name}", ms, frames, kib])
    text = table("Resume, from connecting to live", ["", "ms", "frames of events", "KiB"], rows)
    took = await crowd()
    shares = [percentile(took, share) for share in (0.5, 0.99, 1.0)]
    heads = ["ms until live", "p50", "p99", "all"]
    rows = [[f"{CROWD:,} clients return at once", *shares]]
    text += "\n" + table("Herd", heads, rows)
    up, going_on = await crash()
    heads = ["s after the kill", "server up", "stream goes on"]
    return text + "\n" + table("kill -9 under a working run", heads, [["one run", up, going_on]])
