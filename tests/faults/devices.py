"""Clients that keep a history: the product's own, and one that does only what it is told."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.invariants import History
from tidings.client.session import Session, TokenSource, always
from tidings.domain.commands import Chat, ChatPayload, Receipt
from tidings.domain.events import TERMINAL, Event
from tidings.protocol.client import Apply, ClientCore, Greeted, Happening, Reply
from tidings.protocol.frames import Hello, Window

WAIT_SECONDS = 60.0
"""Until a test gives up; a busy machine takes its time."""


async def eventually(holds: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
    """Wait until something is so that nobody tells of."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - it is of another process, or of the server's inside
            await asyncio.sleep(0.02)


def is_alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


class Eager(random.Random):
    """Comes back at once, but for a breath."""

    def uniform(self, a: float, b: float) -> float:
        return max(a, min(b, 0.02))


class Device:
    """The product's client, and what it was shown."""

    def __init__(self, session: Session, history: History) -> None:
        self.session = session
        self.history = history
        self.ends: dict[str, Event] = {}
        self._heard = asyncio.Condition()

    @property
    def count(self) -> int:
        """How many events it has applied."""
        return sum(len(stretch.applied) for stretch in self.history.stretches)

    async def ask(self, text: str, id: str, thread: str | None = None) -> Receipt:
        return await self.session.send(Chat(id, ChatPayload(text, thread)))

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait until something is so; it is looked at after every event."""
        async with asyncio.timeout(WAIT_SECONDS), self._heard:
            await self._heard.wait_for(done)

    async def more(self) -> None:
        """Wait until something more was applied, if there is anything to come."""
        seen = self.count
        await self.until(lambda: self.count > seen or bool(self.ends))

    async def until_end(self, *receipts: Receipt) -> None:
        runs = {receipt.run_id for receipt in receipts}
        await self.until(lambda: runs <= self.ends.keys())

    async def _listen(self) -> None:
        async for applied in self.session.events():
            event = applied.event
            self.history.applied(event.stream, applied.raw)
            async with self._heard:
                if event.type in TERMINAL and event.run_id:
                    self.ends[event.run_id] = event
                self._heard.notify_all()


@asynccontextmanager
async def device(
    url: str, user_id: str, token: str | TokenSource, name: str
) -> AsyncIterator[Device]:
    """Have a device connected around the block, over whatever happens to its connections."""
    source = always(token) if isinstance(token, str) else token
    async with Session(url, source, name, Eager()) as session:
        made = Device(session, History(user_id, name))
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(made._listen())
            try:
                yield made
            finally:
                listening.cancel()


class Puppet:
    """A client by the rules of the protocol that connects, reads and acknowledges when told to."""

    def __init__(
        self, url: str, user_id: str, token: str, name: str, follow: tuple[str, ...] = ()
    ) -> None:
        self.core = ClientCore(name)
        for stream in follow:
            self.core.follow(stream)
        self.history = History(user_id, name)
        self.socket: ClientConnection | None = None
        self.heard: list[Happening] = []
        self.url = url
        self._token = token

    @asynccontextmanager
    async def connected(self, window: Window = Window()) -> AsyncIterator[None]:  # noqa: B008
        """Say hello, with the cursors it has."""
        hello = msgspec.json.decode(self.core.hello(token=self._token), type=Hello)
        hello = msgspec.structs.replace(hello, window=window)
        url = self.url.replace("http", "ws", 1) + "/ws"
        async with connect(
            url, compression=None, ping_interval=None, proxy=None, close_timeout=0.3
        ) as socket:
            self.socket = socket
            with suppress(ConnectionClosed):  # what is refused at once is read, not sent to
                await socket.send(msgspec.json.encode(hello).decode())
            yield

    async def send(self, message: bytes) -> None:
        assert self.socket is not None
        await self.socket.send(message.decode())

    async def take(self) -> list[Happening]:
        """Take one message; answer nothing."""
        assert self.socket is not None
        async with asyncio.timeout(WAIT_SECONDS):
            message = await self.socket.recv()
        happened = self.core.receive(message)
        for happening in happened:
            if isinstance(happening, Apply):
                event = happening.event
                cursor = self.core.streams[event.stream].position
                single = event.offset == self.core.streams[event.stream].last
                self.history.applied(event.stream, happening.raw, cursor if single else None)
        self.heard += happened
        return happened

    async def greeted(self) -> Greeted:
        """Take the greeting; a server that is slow to find out who this is may ping before it."""
        while True:
            for happening in await self.take():
                if not isinstance(happening, Reply):
                    assert isinstance(happening, Greeted)
                    return happening

    async def acknowledge(self) -> None:
        if message := self.core.acknowledgement():
            await self.send(message)

    async def until(self, done: Callable[[], bool]) -> None:
        """Take messages until something is so."""
        while not done():
            await self.take()

    async def closed(self) -> int:
        """Take everything until the connection ends; return the code."""
        try:
            while True:
                await self.take()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006

    def last(self, stream: str) -> int:
        """Return the last offset it has of a stream."""
        reading = self.core.streams.get(stream)
        return (reading.last or 0) if reading else 0

    @property
    def count(self) -> int:
        return sum(len(stretch.applied) for stretch in self.history.stretches)
