"""A whole system in one process on a real store, with agents and a model of the test's choosing."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from tests.fakes.intake import intake_of
from tests.fakes.models import ScriptedModel
from tests.fakes.watch import hasty_chains
from tests.harness.temporal import temporal
from tests.harness.tiers import ENGINE, TIERS
from tests.stores import store_in
from tidings.agents.registry import AgentRegistry
from tidings.domain.budgets import Plans
from tidings.domain.commands import Chat, ChatPayload, Receipt, StartAgent, StartPayload
from tidings.domain.context import SERVER, UserContext
from tidings.domain.events import TERMINAL, Event, thread_stream, user_stream
from tidings.domain.ports import Clock
from tidings.events import log
from tidings.events.feed import Feed
from tidings.models.chains import Chains
from tidings.models.port import Model
from tidings.resilience.shedding import SheddingRules
from tidings.router.accept import Router
from tidings.router.reads import Reads
from tidings.runs import queue
from tidings.runs.context import Engine
from tidings.runs.dispatch import Dispatch
from tidings.runs.port import Agent
from tidings.runs.queue import Limits
from tidings.runs.worker import Worker
from tidings.scheduling.frontend import Frontend
from tidings.scheduling.port import Scheduler, Unscheduled
from tidings.scheduling.temporal import TemporalScheduler
from tidings.storage.hot.memory import LocalHints
from tidings.storage.hot.port import Hints
from tidings.storage.warm.port import Database, Transaction
from tidings.system import SystemClock, UlidSource
from tidings.tools.catalogue import Catalogue
from tidings.tools.port import Tool

ANA = UserContext("acme", "ana", "s1")
BOB = UserContext("acme", "bob", "s2")


class World:
    """The parts of the system, wired as the application wires them."""

    def __init__(
        self,
        database: Database,
        hints: Hints,
        agents: dict[str, Agent],
        tools: Iterable[Tool] = (),
        clock: Clock | None = None,
        limits: Limits | None = None,
        model: Model | None = None,
        plans: Plans | None = None,
        *,
        chains: Chains | None = None,
        shedding: SheddingRules | None = None,
        scheduler: Scheduler | None = None,
    ) -> None:
        self.database = database
        self.ids = UlidSource(SystemClock())
        self.clock = clock or SystemClock()
        limits = limits or Limits()
        registry = AgentRegistry()
        for name, agent in agents.items():
            registry.register(name, "A test's.", agent)
        self.feed = Feed(database, hints)
        self.registry = registry
        self.intake, self.lookout = intake_of(database, self.clock, registry, limits, shedding)
        self.router = Router(
            database, self.clock, self.ids, self.intake, next(iter(agents)), limits
        )
        self.reads = Reads(database, self.clock, self.ids)
        self.engine = Engine(
            model or ScriptedModel(),
            chains or hasty_chains(),
            Catalogue(tools),
            self.clock,
            lambda: 0.1,
            plans or Plans(),
        )
        self.scheduler = scheduler or _scheduler(self.clock)
        self.worker = Worker(
            database, hints, self.engine, registry, self.ids, limits, self.scheduler
        )
        self.dispatch = Dispatch(database, hints, self.scheduler, self.clock, limits)

    async def begin(self) -> None:
        """Prepare the store, as the start of a server does."""

        async def work(tx: Transaction) -> None:
            await log.open_store(tx, "s_000k3f9ab", 0.0)
            await queue.release_all(tx)
            for user in (ANA, BOB):
                await log.open_stream(tx, user, user_stream(user.user_id))

        await self.database.write(SERVER, work)

    async def own_file(self, file_id: str, user: UserContext) -> None:
        """Let the user have a file of this id."""

        async def work(tx: Transaction) -> None:
            await tx.execute(
                "insert into files (file_id, user_id, name, bytes, sha256, created_at)"
                " values (?, ?, 'a.csv', 1, '', 0)",
                file_id,
                user.user_id,
            )

        await self.database.write(SERVER, work)

    async def ask(
        self,
        text: str,
        user: UserContext = ANA,
        *,
        id: str | None = None,
        thread: str | None = None,
        agent: str | None = None,
        files: tuple[str, ...] = (),
    ) -> Receipt:
        command_id = id or self.ids.new("m")
        if agent is None:
            chat = ChatPayload(text, thread, files)
            return await self.router.accept(user, Chat(command_id, chat))
        payload = StartPayload(text, agent, thread, files)
        return await self.router.accept(user, StartAgent(command_id, payload))

    async def events_until_end(self, receipt: Receipt, user: UserContext = ANA) -> list[Event]:
        """Return the run's events, waiting for its terminal one."""
        return await self.events_until(receipt, lambda events: events[-1].type in TERMINAL, user)

    async def events_until(
        self,
        receipt: Receipt,
        enough: Callable[[list[Event]], bool],
        user: UserContext = ANA,
    ) -> list[Event]:
        """Return the run's events, waiting until they are enough."""
        stream, woken = thread_stream(receipt.thread_id), asyncio.Event()
        follower = await self.feed.follow(user, stream, "0", woken.set)
        events: list[Event] = []
        try:
            while True:
                while follower.behind:
                    for _, frame, _ in await follower.read():
                        event = msgspec.json.decode(frame, type=Event)
                        if event.run_id == receipt.run_id:
                            events.append(event)
                if events and enough(events):
                    return events
                await woken.wait()
                woken.clear()
        finally:
            follower.close()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Have the worker, who brings it runs, and the feed run around the block."""
        parts = [self.worker.run, self.feed.run]
        if self.scheduler.patience_seconds:
            parts.append(self.dispatch.run)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(part()) for part in parts]
            try:
                yield
            finally:
                for task in running:
                    task.cancel()


@asynccontextmanager
async def world(
    path: Path,
    agents: dict[str, Agent],
    tools: Iterable[Tool] = (),
    *,
    wrap: Callable[[Database], Database] = lambda database: database,
    clock: Clock | None = None,
    limits: Limits | None = None,
    model: Model | None = None,
    plans: Plans | None = None,
    hints: Hints | None = None,
    scheduler: Scheduler | None = None,
    chains: Chains | None = None,
    shedding: SheddingRules | None = None,
    engine: str = ENGINE,
) -> AsyncIterator[World]:
    """Build a world on the store in `path`; opening it again is a restart of the process."""
    hints = hints or LocalHints()
    inner = store_in(path, hints.publish, engine)
    try:
        built = World(
            wrap(inner),
            hints,
            agents,
            tools,
            clock,
            limits,
            model,
            plans,
            chains=chains,
            shedding=shedding,
            scheduler=scheduler,
        )
        yield built
    finally:
        await inner.close()


def _scheduler(clock: Clock) -> Scheduler:
    """Return who brings runs on this session's tiers."""
    if TIERS != "fleet":
        return Unscheduled()
    queue_of_its_own = UlidSource(SystemClock()).new("queue")
    return TemporalScheduler(Frontend(temporal().address, "default"), queue_of_its_own, clock)


def types(events: list[Event]) -> list[str]:
    return [event.type for event in events]


def payloads(events: list[Event], type_: str) -> list[dict[str, Any]]:
    return [event.payload for event in events if event.type == type_]
