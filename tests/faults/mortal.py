"""Servers that kill themselves with SIGKILL at a named point; forked, so that many can die.

`python -m tests.faults.mortal` imports everything once and then serves, in a process of its own,
each `Life` that it reads from its input, a line of JSON each; it answers with the process's id.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from tests.faults.served import MANY_RUNS, served
from tests.stores import store_in
from tidings.domain.context import SERVER, Scope, UserContext
from tidings.domain.errors import Unavailable
from tidings.domain.events import Draft, EventType
from tidings.events import log
from tidings.events.log import Appended
from tidings.gateway.outlet import EXTENSION, OUTLET, Outlet
from tidings.storage.hot.memory import LocalHints
from tidings.storage.warm.port import Database, T, Transaction, Work

POINTS = (
    "before_commit",
    "in_batch",
    "after_commit_before_announce",
    "after_announce_before_reply",
    "after_write_before_cursor",
    "during_drain",
)
APPENDS = 1_000
WRITER = UserContext("acme", "ana", "s1")
STREAM = "thread:t_many"


class Life(msgspec.Struct):
    """Where to serve, and the point at which, the n-th time, the process dies; "" is never."""

    folder: str
    port: int
    point: str = ""
    number: int = 1
    appends: bool = False


def died_of(life: Life) -> Path:
    """Return the mark of a death at its point: an orderly end leaves none."""
    return Path(life.folder) / f"died.{life.point}"


class Fate:
    """Counts how often a point was passed; the chosen time is the last."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._passed = 0

    def passes(self, point: str) -> None:
        if point != self._life.point:
            return
        self._passed += 1
        if self._passed == self._life.number:
            died_of(self._life).touch()
            os.kill(os.getpid(), signal.SIGKILL)


class MortalDatabase:
    """Passes the points around and inside a commit that appends events."""

    def __init__(self, inner: Database, fate: Fate) -> None:
        self._inner = inner
        self._fate = fate

    async def write(self, scope: Scope, work: Work[T]) -> T:
        appending = False

        async def watched(tx: Transaction) -> T:
            nonlocal appending
            witness = Witness(tx)
            result = await work(witness)
            appending = witness.appending
            if appending:
                self._fate.passes("in_batch")
            return result

        self._fate.passes("before_commit")
        result = await self._inner.write(scope, watched)
        if appending:
            self._fate.passes("after_announce_before_reply")
        return result

    async def read(self, scope: Scope, work: Work[T]) -> T:
        return await self._inner.read(scope, work)


class Witness:
    """A transaction that knows whether events were appended in it."""

    def __init__(self, inner: Transaction) -> None:
        self._inner = inner
        self.appending = False
        self.execute = inner.execute
        self.execute_many = inner.execute_many
        self.lock = inner.lock
        self.together = inner.together
        self.turn = inner.turn

    def announce(self, note: object) -> None:
        self.appending |= isinstance(note, Appended)
        self._inner.announce(note)


class MortalHints(LocalHints):
    def __init__(self, fate: Fate) -> None:
        super().__init__()
        self._fate = fate

    def publish(self, note: object) -> None:
        if isinstance(note, Appended):
            self._fate.passes("after_commit_before_announce")
        super().publish(note)


class MortalSockets:
    """Gives every connection an outlet that passes points."""

    def __init__(self, app: ASGIApp, fate: Fate) -> None:
        self._app = app
        self._fate = fate

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        extension = scope["extensions"][EXTENSION]
        extension[OUTLET] = MortalOutlet(extension[OUTLET], self._fate)
        await self._app(scope, receive, send)


class MortalOutlet:
    """Passes a point after each message that carries events, and after each call to leave."""

    def __init__(self, inner: Outlet, fate: Fate) -> None:
        self.writable = inner.writable
        self._inner = inner
        self._fate = fate

    def write(self, message: bytes) -> None:
        self._inner.write(message)
        if b'"event_id"' in message:
            self._pass_when_sent("after_write_before_cursor")
        if message.startswith(b'{"type":"drain"'):
            self._pass_when_sent("during_drain")

    def _pass_when_sent(self, point: str) -> None:
        """What is written goes out at the end of this turn of the loop."""
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, self._fate.passes, point)


async def live(life: Life) -> None:
    """Serve until SIGTERM, and then drain."""
    fate, told = Fate(life), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    async with served(
        Path(life.folder),
        wrap=lambda database: MortalDatabase(database, fate),
        hints=MortalHints(fate),
        around=lambda app: MortalSockets(app, fate),
        limits=MANY_RUNS,
        port=life.port,
    ) as server:
        await told.wait()
        await server.presence.drain()


async def append_many(life: Life) -> None:
    """Append many events at once, each with an id of its own; note which ones were confirmed."""
    fate, folder = Fate(life), Path(life.folder)
    inner = store_in(folder)
    database = MortalDatabase(inner, fate)

    async def begin(tx: Transaction) -> None:
        await log.open_store(tx, "s_000k3f9ab", 0.0)
        await log.open_stream(tx, WRITER, STREAM)

    await inner.write(SERVER, begin)
    with (folder / f"confirmed.{life.number}").open("ab", buffering=0) as confirmed:

        async def one(number: int) -> None:
            draft = Draft(f"e_{number:026d}", EventType.NOTICE, {"n": number})
            try:
                await database.write(
                    WRITER, lambda tx: log.append(tx, WRITER, STREAM, [draft], 0.0)
                )
            except Unavailable:  # its turn did not come in time
                await one(number)
            else:
                confirmed.write(b"%d\n" % number)

        async with asyncio.TaskGroup() as tasks:
            for number in range(APPENDS):
                tasks.create_task(one(number))
    await inner.close()


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead need no one to bury them
    for line in sys.stdin:
        life = msgspec.json.decode(line, type=Life)
        child = os.fork()
        if child == 0:
            asyncio.run(append_many(life) if life.appends else live(life))
            os._exit(0)
        print(child, flush=True)


if __name__ == "__main__":
    main()
