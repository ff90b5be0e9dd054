"""A store with a user, a thread and runs that end; what tells of them; a clock turned by hand."""

import ssl
from asyncio import TaskGroup
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from tests.fakes.ports import ManualClock
from tests.stores import store_in
from tidings.domain.context import SERVER, UserContext
from tidings.domain.events import Draft, Event, EventType, thread_stream, user_stream
from tidings.egress.addresses import AllowedHosts
from tidings.egress.http import Egress, Resolve, system_resolve
from tidings.events import log
from tidings.events.outbox import NOTIFY_AFTER_SECONDS
from tidings.events.positions import Positions
from tidings.health.metrics import Metrics
from tidings.notifications.deliverer import Deliverer
from tidings.notifications.dispatcher import SETTLE_SECONDS, Dispatcher
from tidings.notifications.service import Notifications
from tidings.router import threads
from tidings.storage.hot.memory import LocalHints
from tidings.storage.warm.port import Database, Transaction
from tidings.system import UlidSource

ANA = UserContext("acme", "ana", "s1")
BOB = UserContext("acme", "bob", "s2")
THREAD = "t_of_ana"
TLS = ssl.create_default_context()
"""One for all: making one is slow."""
DUE_SECONDS = NOTIFY_AFTER_SECONDS + SETTLE_SECONDS


class Office:
    """The notifying parts of one process, wired as the application wires them."""

    def __init__(
        self, database: Database, hints: LocalHints, egress: Egress, clock: ManualClock
    ) -> None:
        self.database = database
        self.clock = clock
        self.ids = UlidSource(clock)
        self.metrics = Metrics()
        self.egress = egress
        self.positions = Positions(database, clock)
        self.notifications = Notifications(database, egress, clock, self.ids)
        self.dispatcher = Dispatcher(database, self.metrics, clock, self.ids)
        self.deliverer = Deliverer(database, hints, egress, self.metrics, clock, Random(7))

    async def begin(self) -> None:
        """Open the store and Ana's thread, as far as they are not there."""

        async def work(tx: Transaction) -> None:
            await log.open_store(tx, "s_000k3f9ab", self.clock.now())
            if not await tx.execute("select 1 from threads"):
                await threads.begin(tx, ANA, THREAD, "Spend", "e_begin", now=self.clock.now())

        await self.database.write(SERVER, work)

    async def end_run(
        self, run_id: str = "r_1", type_: EventType = EventType.AGENT_COMPLETED
    ) -> int:
        """Let a run end; return the offset of its end in the thread."""
        end = Draft(
            event_id=f"e_end_of_{run_id}",
            type=type_,
            payload={"status": "completed", "answer": "the secret answer"},
            run_id=run_id,
            thread_id=THREAD,
        )
        now = self.clock.now()
        return await self.database.write(
            ANA, lambda tx: log.append(tx, ANA, thread_stream(THREAD), [end], now)
        )

    async def acknowledge(self, offset: int, device: str = "d1") -> None:
        self.positions.acknowledge(ANA, device, {thread_stream(THREAD): offset})
        await self.positions.store()

    async def wait_and_look(self, seconds: float = DUE_SECONDS) -> None:
        self.clock.advance(seconds)
        await self.dispatcher.look()

    async def call(self, seconds: float = 0.0) -> None:
        """Make the calls that are due after so long, and wait until they are recorded."""
        self.clock.advance(seconds)
        async with self.egress.opened() as outbound, TaskGroup() as tasks:
            await self.deliverer.call_due(outbound, tasks)

    async def wait_until_due(self) -> None:
        """Turn the clock to the next attempt, if there is to be one."""
        ((at,),) = await self.database.read(
            SERVER,
            lambda tx: tx.execute(
                "select min(next_attempt_at) from webhook_deliveries where state = 'pending'"
            ),
        )
        if at is not None:
            self.clock.advance(max(0.0, at - self.clock.now()) + 1e-6)

    async def inbox(self, user: UserContext = ANA) -> list[dict[str, Any]]:
        page = await self.notifications.inbox(user, 200, None, unread=False)
        items: list[dict[str, Any]] = page["items"]
        return items

    async def told(self) -> list[Event]:
        """Return what the user's own stream says of the inbox."""
        _, entries = await self.database.read(
            ANA, lambda tx: log.read_after(tx, ANA, user_stream(ANA.user_id), 0, 1000)
        )
        events = [msgspec.json.decode(entry.frame, type=Event) for entry in entries]
        return [event for event in events if event.type == EventType.INBOX_ITEM]

    async def deliveries(self, webhook: dict[str, Any]) -> list[dict[str, Any]]:
        return await self.notifications.deliveries(ANA, webhook["webhook_id"], 200)

    def counted(self, metric: str) -> float:
        """Return the value of a metric by its line, labels included."""
        lines = self.metrics.render().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{metric} "))


@asynccontextmanager
async def office(
    path: Path,
    *hosts: str,
    clock: ManualClock | None = None,
    wrap: Callable[[Database], Database] = lambda database: database,
    resolve: Resolve = system_resolve,
) -> AsyncIterator[Office]:
    """Open the store in `path`; opening it again is a restart. Webhooks may call `hosts`."""
    hints = LocalHints()
    inner = store_in(path, hints.publish)
    try:
        egress = Egress(AllowedHosts(hosts), resolve, TLS)
        opened = Office(wrap(inner), hints, egress, clock or ManualClock())
        await opened.begin()
        yield opened
    finally:
        await inner.close()
