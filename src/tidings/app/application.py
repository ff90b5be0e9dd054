"""The wired application: how it begins, runs and ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.types import ASGIApp

from tidings.agents.registry import AgentRegistry
from tidings.app.pieces import Abilities, Chronicle
from tidings.domain.context import SERVER
from tidings.domain.ports import Clock
from tidings.events.lineage import Lineage
from tidings.gateway.presence import Presence
from tidings.gateway.services import Services
from tidings.health.parts import Parts
from tidings.health.probes import Readiness
from tidings.history.service import History
from tidings.identity.passwords import Passwords
from tidings.identity.service import Identity
from tidings.models.chain import Closing
from tidings.models.port import Model
from tidings.runs import queue
from tidings.storage.warm.port import Store
from tidings.tools.catalogue import Catalogue

if TYPE_CHECKING:
    from tidings.tools.mcp.servers import ToolServers


@dataclass(frozen=True, slots=True)
class Kept:
    """What the application holds on to, to begin with and to let go of."""

    database: Store
    past: Chronicle
    passwords: Passwords
    lineage: Lineage
    able: Abilities
    clock: Clock
    model: Model


@dataclass(frozen=True, slots=True)
class App:
    """Everything that runs, fully wired. Register agents and tools before it begins."""

    agents: AgentRegistry
    tools: Catalogue
    identity: Identity
    presence: Presence
    services: Services
    http: ASGIApp
    _parts: Parts
    _kept: Kept

    @property
    def readiness(self) -> Readiness:
        """Whether this server should be sent work."""
        return self.services.readiness

    async def begin(self) -> None:
        """Take over what an earlier process left: nobody else works on this store.

        Raises:
            Unavailable: `store_damaged`: an earlier process was cut off, and left damaged data.
        """
        kept = self._kept
        if not kept.lineage.was_closed():
            await kept.database.check()
        await kept.lineage.begin()
        await kept.database.write(SERVER, queue.release_all)
        await kept.able.library.sweep(kept.clock.now())
        for servers in kept.able.servers:
            await servers.begin()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have runs worked on and events delivered around the block."""
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(self._parts.run())
            try:
                yield
            finally:
                running.cancel()

    async def stored_events(self, object_id: str) -> list[bytes]:
        """Return the frames of a run or a thread, oldest first; for the operator."""
        return await self._kept.past.history.story(object_id)

    @property
    def history(self) -> History:
        """What is asked of the cold tier."""
        return self._kept.past.history

    @property
    def tool_servers(self) -> "tuple[ToolServers, ...]":
        """The tool servers of the operator's file; none without one."""
        return self._kept.able.servers

    async def confinement(self) -> dict[str, bool]:
        """Return which measures confine hostile SQL and files on this machine."""
        return await self._kept.able.sandbox.capabilities()

    async def close(self) -> None:
        """Let go of processes, threads and files."""
        kept = self._kept
        if isinstance(kept.model, Closing):
            await kept.model.close()
        await kept.able.sandbox.close()
        await kept.past.store.close()
        kept.passwords.close()
        await kept.lineage.end()
        await kept.database.close()
