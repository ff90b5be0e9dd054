"""The server of the machine: real sockets, feed, presence and router, on links instead of TCP."""

import asyncio
import json
from collections import deque
from collections.abc import Coroutine, MutableMapping
from typing import Any

from tests.fakes.intake import intake_of, named_agents
from tests.fakes.ports import CountingIds
from tests.machine.shelf import SteppedDatabase
from tests.machine.stepping import SteppingLoop
from tidings.domain.context import UserContext
from tidings.domain.errors import Unauthenticated
from tidings.events import log
from tidings.events.feed import Feed
from tidings.events.positions import Positions
from tidings.gateway.outlet import EXTENSION, OUTLET
from tidings.gateway.presence import Presence
from tidings.gateway.socket import Backend, Socket
from tidings.gateway.sockets import Sockets
from tidings.health.levels import DeliveryLevels
from tidings.health.metrics import Metrics
from tidings.identity.elsewhere import Elsewhere
from tidings.identity.passwords import Passwords
from tidings.identity.service import Identity
from tidings.identity.tokens import Tokens
from tidings.protocol.closing import Close
from tidings.protocol.connection import PACE
from tidings.router.accept import Router
from tidings.router.reads import Reads
from tidings.runs import queue
from tidings.runs.queue import Limits
from tidings.storage.hot.memory import LocalHints, LocalOnce, LocalPrecedence, LocalRates
from tidings.storage.warm.port import Transaction

USERS = {name: UserContext("acme", name, f"s_{name}") for name in ("ana", "bob")}
LINK_MESSAGES_MAX = 24
"""How many messages a link holds before it makes the server wait: its socket's buffer."""
METRICS = Metrics()
PASSWORDS = Passwords()
LIMITS = Limits(runs=6, runs_per_user=4, run_seconds=10**9)


class SteppedClock:
    """The loop's time, as the clock of the server."""

    def __init__(self, loop: SteppingLoop) -> None:
        self._loop = loop

    def now(self) -> float:
        return 1_800_000_000.0 + self._loop.time()

    def monotonic(self) -> float:
        return self._loop.time()


class NamedCallers(Identity):
    """Believes tokens of the form `<user>@<end>`: identity has tests of its own."""

    async def authenticate(self, token: str) -> UserContext:
        if self.expires_at(token) <= self._clock.now():
            raise Unauthenticated("token_invalid", "It has ended.")
        return USERS[token.partition("@")[0]]

    def expires_at(self, token: str) -> float:
        return float(token.partition("@")[2])

    async def ended(self, contexts: set[UserContext]) -> set[UserContext]:
        return set()


class SteppedLink:
    """One connection: two queues. What is in them is on its way, and may be lost by a cut."""

    def __init__(self, loop: SteppingLoop) -> None:
        self.up: deque[str] = deque()
        self.down: deque[str] = deque()
        self.closed: tuple[int, str] | None = None
        self.dead = False
        self.stalled = False
        self.unread = 0
        self.born = 0
        self.failed = 0
        self._loop = loop
        self._arrived: deque[dict[str, Any]] = deque([{"type": "websocket.connect"}])
        self._waiting: asyncio.Future[None] | None = None
        self.writable = asyncio.Event()
        self.writable.set()
        self._gone = False

    def deliver(self, count: int) -> None:
        """Let messages of the client arrive at the server."""
        for _ in range(min(count, len(self.up))):
            self._arrive({"type": "websocket.receive", "text": self.up.popleft()})

    def take(self) -> str:
        """Let the next message of the server arrive at the client."""
        self.unread -= 1
        message = self.down.popleft()
        if self.unread < LINK_MESSAGES_MAX:
            self.writable.set()
        return message

    def tell_server(self) -> None:
        """Let the server notice that the link is cut."""
        self._gone = True
        self._arrive({"type": "websocket.disconnect", "code": 1006})
        self.writable.set()

    def lose(self) -> None:
        """Cut: what is on its way is gone. The server does not know it yet."""
        self.dead = True
        self.up.clear()
        self.down.clear()

    async def receive(self) -> MutableMapping[str, Any]:
        """Stand for ASGI's `receive`."""
        while not self._arrived:
            self._waiting = self._loop.create_future()
            await self._waiting
        return self._arrived.popleft()

    def write(self, message: bytes) -> None:
        """Stand for the socket's outlet: fails when the peer is gone."""
        if self._gone:
            raise OSError("the peer is gone")
        self.unread += 1
        if not self.dead:
            self.down.append(message.decode())
        if self.unread >= LINK_MESSAGES_MAX:
            self.writable.clear()

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Stand for ASGI's `send`: waits while the buffer is full, fails when the peer is gone."""
        await self.writable.wait()
        if self._gone:
            raise OSError("the peer is gone")
        if message["type"] == "websocket.close":
            self.closed = (message["code"], message["reason"])

    def _arrive(self, message: dict[str, Any]) -> None:
        self._arrived.append(message)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class SteppedServer:
    """One process: it may die at any moment; the store stays."""

    def __init__(self, loop: SteppingLoop, database: SteppedDatabase, ids: CountingIds) -> None:
        self.clock = SteppedClock(loop)
        self.hints = LocalHints()
        self.feed = Feed(database, self.hints)
        self.ids = ids
        self.links: list[SteppedLink] = []
        self._loop = loop
        identity = NamedCallers(
            database,
            Tokens(b"0" * 32),
            PASSWORDS,
            LocalOnce(self.clock),
            LocalRates(self.clock),
            self.clock,
            ids,
        )
        positions = Positions(database, self.clock)
        intake, _ = intake_of(database, self.clock, named_agents("agent"), LIMITS)
        self.router = Router(database, self.clock, ids, intake, "agent", LIMITS)
        elsewhere = Elsewhere(self.hints, LocalPrecedence(), LocalRates(self.clock))
        self.presence = Presence(identity, positions, elsewhere)
        levels = DeliveryLevels(METRICS.history, self.clock)
        backend = Backend(
            identity, self.router, self.feed, positions, METRICS, self.clock, PACE, levels
        )
        self.reads = Reads(database, self.clock, ids)
        self._sockets = Sockets(backend, self.presence, ids, origins=frozenset())
        self._tasks: set[asyncio.Task[None]] = set()
        database.at_once(self._begin)
        self.run(self.feed.run())
        self.run(self.presence.run())
        loop.settle()

    @property
    def sockets(self) -> list[Socket]:
        return [s for s in self.presence._listeners if isinstance(s, Socket)]

    def connect(self) -> SteppedLink:
        """Open a link to this server."""
        link = SteppedLink(self._loop)
        self.links.append(link)
        scope: dict[str, Any] = {"headers": [], "subprotocols": [], "query_string": b""}
        scope["extensions"] = {EXTENSION: {OUTLET: link}}
        self.run(self._serve(scope, link))
        return link

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done; it dies with the process."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def crash(self) -> None:
        """Die: nothing is said any more, and what was being done is left as it is."""
        for link in self.links:
            link.lose()
            link.tell_server()
            link.closed = (1006, "")
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.settle()

    async def _serve(self, scope: dict[str, Any], link: SteppedLink) -> None:
        await self._sockets(scope, link.receive, link.send)
        if link.closed is None:
            link.closed = (1006, "")
        self.links.remove(link)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.result()

    async def _begin(self, tx: Transaction) -> None:
        await log.open_store(tx, "s_000k3f9ab", self.clock.now())
        await queue.release_all(tx)


def said(frame: dict[str, Any]) -> str:
    """Write a frame that no core of ours would."""
    return json.dumps(frame)


EXPECTED_CLOSES = {
    Close.DRAIN,
    Close.HEARTBEAT,
    Close.SLOW,
    Close.ACKS_STALLED,
    Close.STORE_UNAVAILABLE,
    Close.TOKEN_EXPIRED,
    Close.HELLO_TIMEOUT,
    Close.REPLACED,
    Close.AUTH_FAILED,
    Close.ABUSE,
    1006,
}
"""How a link may end here: never by a defect of the server or a violation by our client."""
