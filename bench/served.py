"""What runs in the server's process: `python -m bench.served WHAT`, told what to do by its stdin.

Every server here is the product's own (`tidings.cli.serve.HttpServer`), around one application or
another, so that what differs is the application.
"""

import asyncio
import json
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

from bench.agents import ZeroModel, echo, one_tool
from tidings.app import App, build
from tidings.cli.serve import HttpServer
from tidings.domain.context import UserContext
from tidings.domain.events import Draft, EventType, thread_stream
from tidings.events import log
from tidings.settings import Settings
from tidings.storage.warm.port import Database, Transaction
from tidings.system import UlidSource

USERS = 20
TEXT = "x" * 60
Command = Callable[..., Awaitable[dict[str, Any]]]


class Producers:
    """Appends events to the streams of the readers, through the log, in the product's store."""

    def __init__(self, database: Database, contexts: list[UserContext]) -> None:
        self._database = database
        self._contexts = contexts
        self._ids = UlidSource()

    async def open(self, connections: int) -> dict[str, Any]:
        """Make a stream for each connection."""
        streams = [self._ids.new("t") for _ in range(connections)]
        self._owned = [(s, self._contexts[i % USERS]) for i, s in enumerate(streams)]

        async def work(tx: Transaction) -> None:
            for thread_id, context in self._owned:
                await log.open_stream(tx, context, thread_stream(thread_id))

        await self._database.write(work)
        return {"streams": [thread_stream(s) for s in streams]}

    async def produce(self, seconds: float, each: int, pause: float = 0.0) -> dict[str, Any]:
        """Append `each` events at a time to every stream, again when they are durable."""
        begun = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            counts = [
                tasks.create_task(self._append(t, c, begun + seconds, each, pause))
                for t, c in self._owned
            ]
        return {"begun": begun, "appended": sum(c.result() for c in counts)}

    async def acknowledged(self) -> dict[str, Any]:
        """Return how many events the stored positions cover, once they cover all of them."""
        marks = "select coalesce(sum(head), 0) from streams where stream like 'thread:%'"
        heard = "select coalesce(sum(\"offset\"), 0) from positions where stream like 'thread:%'"
        query = f"select ({marks}), ({heard})"
        head, applied = 0, -1
        async with asyncio.timeout(10):
            while head != applied:
                await asyncio.sleep(0.1)
                ((head, applied),) = await self._database.read(lambda tx: tx.execute(query))
        return {"acknowledged": applied}

    async def _append(
        self, thread_id: str, context: UserContext, until: float, each: int, pause: float
    ) -> int:
        stream, count = thread_stream(thread_id), 0
        await asyncio.sleep(pause * (hash(thread_id) % 1000 / 1000))
        while (now := time.monotonic()) < until:
            drafts = [self._draft(thread_id, now) for _ in range(each)]
            await self._database.write(
                lambda tx, drafts=drafts: log.append(tx, context, stream, drafts, time.time())
            )
            count += each
            if pause:
                await asyncio.sleep(max(0.0, pause - (time.monotonic() - now)))
        return count

    def _draft(self, thread_id: str, now: float) -> Draft:
        payload = {"t": now, "text": TEXT}
        event_id = self._ids.new("e")
        return Draft(event_id, EventType.NOTICE, payload, "bench", None, thread_id)


class Push:
    """The limit: the same frames, encoded beforehand, as fast as this server writes them."""

    def __init__(self) -> None:
        self._sends: list[Send] = []

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": '{"type":"connection_established"}'})
        self._sends.append(send)
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async def produce(self, seconds: float, each: int) -> dict[str, Any]:
        """Send a message of `each` events to every connection, turn by turn."""
        frame = json.dumps(
            {
                "type": "notice",
                "event_id": "e_01JD0000000000000000000000",
                "stream": "thread:t_01JD0000000000000000000000",
                "epoch": "k3f9ab",
                "offset": 123,
                "timestamp": "2026-11-01T00:00:00.000Z",
                "thread_id": "t_01JD0000000000000000000000",
                "agent": "bench",
                "payload": {"t": 12345.678901234, "text": TEXT},
            },
            separators=(",", ":"),
        )
        message = frame if each == 1 else "[" + ",".join([frame] * each) + "]"
        begun = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            counts = [
                tasks.create_task(_push(send, message, begun + seconds)) for send in self._sends
            ]
        return {"begun": begun, "appended": each * sum(c.result() for c in counts)}


async def _push(send: Send, message: str, until: float) -> int:
    count = 0
    while time.monotonic() < until:
        await send({"type": "websocket.send", "text": message})
        count += 1
        await asyncio.sleep(0)
    return count


async def main(what: str) -> None:
    with (
        tempfile.TemporaryDirectory(dir=".", prefix=".bench-") as folder,
        socket.create_server(("127.0.0.1", 0), backlog=2048) as listening,
    ):
        settings = Settings(data_dir=Path(folder), runs=64, runs_per_user=64)
        app = build(settings, model=ZeroModel())
        app.agents.register("one_tool", "One model request, one call, one answer.", one_tool)
        app.tools.add(echo)
        try:
            await app.begin()
            async with app.running(), asyncio.TaskGroup() as tasks:
                ready, commands, http = await prepare(what, app)
                server = HttpServer(replace(app, http=http), settings, listening)
                serving = tasks.create_task(server.serve(sockets=[listening]))
                ready["url"] = "http://{}:{}".format(*listening.getsockname()[:2])
                await ready_to_accept(server)
                await obey(ready, commands)
                server.force_exit = server.should_exit = True
                await serving
        finally:
            await app.close()


async def prepare(what: str, app: App) -> tuple[dict[str, Any], dict[str, Command], ASGIApp]:
    """Return what to tell the load, the commands it may give, and the application to serve."""
    if what == "limit":
        push = Push()
        return {"tokens": [""]}, {"produce": push.produce}, push
    if what == "peer":
        from bench.peer import peer  # noqa: PLC0415 - nobody else pays for its memory

        return {"tokens": [""]}, {}, peer
    tokens = []
    for number in range(USERS):
        await app.identity.add_user(f"user{number}", "correct horse battery")
        tokens.append(await app.identity.issue_token(f"user{number}"))
    contexts = [await app.identity.authenticate(token) for token in tokens]
    producers = Producers(app._kept.database, contexts)  # noqa: SLF001 - the composition root's own
    commands: dict[str, Command] = {
        "open": producers.open,
        "produce": producers.produce,
        "acknowledged": producers.acknowledged,
    }
    return {"tokens": tokens}, commands, app.http


async def ready_to_accept(server: HttpServer) -> None:
    while not server.started:
        await asyncio.sleep(0.01)


async def obey(ready: dict[str, Any], commands: dict[str, Command]) -> None:
    """Answer each line of stdin, `[command, arguments]`, with a line of JSON; until it ends."""
    loop = asyncio.get_running_loop()
    print(json.dumps(ready), flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        name, arguments = json.loads(line)
        print(json.dumps(await commands[name](**arguments)), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1]))
