"""What runs in the server's process: `python -m bench.served WHAT`, told what to do by its stdin.

Every server here is the product's own (`tidings.cli.serve.HttpServer`), around one application or
another, so that what differs is the application.
"""

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

from bench.agents import ZeroModel, echo, one_tool, steady
from bench.processes import MODEL_SECONDS
from bench.tables import percentile
from tidings.app import App, build, tiers
from tidings.cli.serve import HttpServer
from tidings.domain.context import SERVER, UserContext
from tidings.domain.errors import Unavailable
from tidings.domain.events import Draft, EventType, thread_stream
from tidings.events import log
from tidings.gateway.outlet import EXTENSION, OUTLET, Outlet
from tidings.history import exporter
from tidings.history.exporter import ExportPolicy
from tidings.settings import load
from tidings.storage.warm.port import Database, Transaction
from tidings.system import SystemClock, UlidSource

USERS = 100
TEXT = "x" * 60
PIECES_A_TRANSACTION = 100
LAG_PAUSE_SECONDS = 0.005
BUSY_PAUSE_SECONDS = 0.05
Command = Callable[..., Awaitable[dict[str, Any]]]


class Producers:
    """Appends events to the streams of the readers, through the log, in the product's store."""

    def __init__(self, database: Database, contexts: list[UserContext]) -> None:
        self._database = database
        self._contexts = contexts
        self._ids = UlidSource(SystemClock())

    async def open(self, connections: int) -> dict[str, Any]:
        """Make a stream for each connection."""
        streams = [self._ids.new("t") for _ in range(connections)]
        self._owned = [(s, self._contexts[i % USERS]) for i, s in enumerate(streams)]

        async def work(tx: Transaction) -> None:
            for thread_id, context in self._owned:
                await log.open_stream(tx, context, thread_stream(thread_id))

        await self._database.write(SERVER, work)
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

    async def fill(self, events: int, kind: str) -> dict[str, Any]:
        """Append so many events of a kind to every stream, while perhaps nobody listens."""
        for thread_id, context in self._owned:
            for start in range(0, events, PIECES_A_TRANSACTION):
                count = min(PIECES_A_TRANSACTION, events - start)
                drafts = [self._draft(thread_id, 0.0, EventType(kind)) for _ in range(count)]
                await self._write(thread_id, context, drafts)
        return {"appended": events * len(self._owned)}

    async def _write(self, thread_id: str, context: UserContext, drafts: list[Draft]) -> None:
        """Append until it is durable; a store that is busy is asked again, as runs do."""
        stream, now = thread_stream(thread_id), time.time()
        while True:
            try:
                await self._database.write(
                    context, lambda tx: log.append(tx, context, stream, drafts, now)
                )
            except Unavailable:
                await asyncio.sleep(BUSY_PAUSE_SECONDS)
            else:
                return

    async def acknowledged(self) -> dict[str, Any]:
        """Return how many events the stored positions cover, once they cover all of them."""
        marks = "select coalesce(sum(head), 0) from streams where stream like 'thread:%'"
        heard = "select coalesce(sum(\"offset\"), 0) from positions where stream like 'thread:%'"
        query = f"select ({marks}), ({heard})"
        head, applied = 0, -1
        async with asyncio.timeout(10):
            while head != applied:
                await asyncio.sleep(0.1)
                ((head, applied),) = await self._database.read(SERVER, lambda tx: tx.execute(query))
        return {"acknowledged": applied}

    async def _append(
        self, thread_id: str, context: UserContext, until: float, each: int, pause: float
    ) -> int:
        count = 0
        await asyncio.sleep(pause * (hash(thread_id) % 1000 / 1000))
        while (now := time.monotonic()) < until:
            drafts = [self._draft(thread_id, now) for _ in range(each)]
            await self._write(thread_id, context, drafts)
            count += each
            if pause:
                await asyncio.sleep(max(0.0, pause - (time.monotonic() - now)))
        return count

    def _draft(self, thread_id: str, now: float, kind: EventType = EventType.NOTICE) -> Draft:
        payload = {"t": now, "text": TEXT}
        if kind is EventType.ANSWER_DELTA:
            payload = {"message_id": "answer.1", "text": "word "}
        return Draft(self._ids.new("e"), kind, payload, "bench", None, thread_id)


class Push:
    """The limit: the same frames, encoded beforehand, as fast as this server writes them."""

    def __init__(self) -> None:
        self._outlets: list[Outlet] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        outlet: Outlet = scope["extensions"][EXTENSION][OUTLET]
        outlet.write(b'{"type":"connection_established"}')
        self._outlets.append(outlet)
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async def produce(self, seconds: float, each: int) -> dict[str, Any]:
        """Send messages of `each` events to every connection, one in a turn of the loop."""
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
        message = (frame if each == 1 else "[" + ",".join([frame] * each) + "]").encode()
        begun = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            counts = [
                tasks.create_task(_push(outlet, message, begun + seconds))
                for outlet in self._outlets
            ]
        return {"begun": begun, "appended": each * sum(c.result() for c in counts)}


async def _push(outlet: Outlet, message: bytes, until: float) -> int:
    count = 0
    while time.monotonic() < until:
        await outlet.writable.wait()
        outlet.write(message)
        count += 1
        await asyncio.sleep(0)
    return count


async def lag(seconds: float) -> dict[str, Any]:
    """Return how much later than asked for a pause of the loop ends, in ms."""
    late, until = [], time.monotonic() + seconds
    while (begun := time.monotonic()) < until:
        await asyncio.sleep(LAG_PAUSE_SECONDS)
        late.append((time.monotonic() - begun - LAG_PAUSE_SECONDS) * 1000)
    return {"p50": percentile(late, 0.5), "p99": percentile(late, 0.99), "max": max(late)}


def export_at_once() -> None:
    """Have runs brought to the history when they have ended, and not half a minute later."""
    exporter.SETTLED_SECONDS = 0.0
    vars(tiers).update(STEADY=ExportPolicy(0.5, 0.0, 1))


async def main(what: str, folder: Path, port: int) -> None:
    """Serve `what`, on this data directory and port, 0 for any."""
    if what == "exporting":
        export_at_once()
    with socket.create_server(("127.0.0.1", port), backlog=2048) as listening:
        settings = load({"data_dir": folder})
        app = build(settings, model=ZeroModel(float(os.environ[MODEL_SECONDS])))
        app.agents.register("one_tool", "One model request, one call, one answer.", one_tool)
        app.agents.register("steady", "Thinks aloud, many times a second.", steady)
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
    if what == "worker":
        return {"tokens": []}, {}, app.http
    if what == "limit":
        push = Push()
        return {"tokens": [""]}, {"produce": push.produce}, push
    database = app._kept.tiers.warm  # noqa: SLF001 - the composition root's own
    if not await database.read(SERVER, lambda tx: tx.execute("select 1 from users")):
        await app.identity.add_user("user0", "correct horse battery")
        await database.write(SERVER, _more_users)
    async with asyncio.TaskGroup() as tasks:
        names = [f"user{number}" for number in range(USERS)]
        issued = [tasks.create_task(app.identity.issue_token(name)) for name in names]
    tokens = [task.result() for task in issued]
    contexts = [await app.identity.authenticate(token) for token in tokens]
    producers = Producers(database, contexts)
    commands: dict[str, Command] = {
        "open": producers.open,
        "produce": producers.produce,
        "fill": producers.fill,
        "acknowledged": producers.acknowledged,
        "lag": lag,
    }
    return {"tokens": tokens}, commands, app.http


async def _more_users(tx: Transaction) -> None:
    """Copy the first user, whose password took its time to hash."""
    for number in range(1, USERS):
        await tx.execute(
            "insert into users (user_id, tenant_id, name, password_hash, created_at)"
            " select user_id || ?, tenant_id, ?, password_hash, created_at"
            " from users where name = 'user0'",
            f"_{number}",
            f"user{number}",
        )


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
        runner.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
