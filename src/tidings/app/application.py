"""The wired application: how it begins, runs and ends."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.types import ASGIApp

from tidings.agents.registry import AgentRegistry
from tidings.app.pieces import Abilities, Chronicle
from tidings.app.tiers import Tiers
from tidings.domain.context import SERVER, UserContext
from tidings.domain.errors import Conflict, Unusable
from tidings.domain.tiers import TierHealth
from tidings.gateway.presence import Presence
from tidings.gateway.services import Services
from tidings.health.parts import Parts
from tidings.health.probes import Readiness
from tidings.health.roster import Roster
from tidings.health.tiers import look_at
from tidings.history.service import History
from tidings.identity.agreement import SigningKey
from tidings.identity.passwords import Passwords
from tidings.identity.service import Identity
from tidings.models.chain import Closing
from tidings.models.port import Model
from tidings.router.departures import Departed, Departures
from tidings.runs import queue
from tidings.storage.warm.admission import admit, keep_watch
from tidings.storage.warm.clock import StoreClock
from tidings.storage.warm.port import Transaction
from tidings.tools.catalogue import Catalogue

if TYPE_CHECKING:
    from tidings.tools.mcp.servers import ToolServers


@dataclass(frozen=True, slots=True)
class Kept:
    """What the application holds on to, to begin with and to let go of."""

    tiers: Tiers
    past: Chronicle
    passwords: Passwords
    able: Abilities
    clock: StoreClock
    model: Model
    roster: Roster
    signing_key: SigningKey
    departures: Departures


@dataclass(frozen=True, slots=True)
class App:
    """Everything that runs, fully wired. Register agents and tools before it begins."""

    agents: AgentRegistry
    tools: Catalogue
    services: Services
    http: ASGIApp
    _parts: Parts
    _kept: Kept

    @property
    def identity(self) -> Identity:
        """Who may sign in."""
        return self.services.identity

    @property
    def presence(self) -> Presence:
        """Who is connected."""
        return self.services.presence

    @property
    def readiness(self) -> Readiness:
        """Whether this server should be sent work."""
        return self.services.readiness

    async def begin(self) -> None:
        """Look at the store; where nobody else works on it, take over what was left in it.

        Raises:
            Unusable: the store must not be worked on before somebody has mended it.
            Conflict: `key_differs`: others work on it with another signing key.
        """
        kept = self._kept
        if not kept.tiers.lineage.was_closed():
            await admit(kept.tiers.warm, self._look)
        await kept.tiers.lineage.begin()
        if kept.tiers.alone:
            await kept.tiers.warm.write(SERVER, queue.release_all)
            await kept.able.library.sweep(kept.clock.now())
        else:
            await kept.able.library.recognise()
        for servers in kept.able.servers:
            await servers.begin()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have runs worked on and events delivered around the block.

        Raises:
            Unusable: the store that others work on too has come to be none to work on; the block
                is cut off.
            Conflict: `key_differs`: found out only now; the same.
        """
        kept = self._kept
        with _refusal_by_itself():
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(self._work())]
                if not kept.tiers.alone:
                    running.append(tasks.create_task(keep_watch(kept.tiers.warm, self._look)))
                try:
                    yield
                finally:
                    for task in running:
                        task.cancel()

    async def _work(self) -> None:
        """Run the parts; among others not before it is known what time it is."""
        if not self._kept.tiers.alone:
            await self._kept.clock.told()
        await self._parts.run()

    async def _look(self) -> None:
        """See, where others work on the store, that they have the same key."""
        if not self._kept.tiers.alone:
            await self._kept.signing_key.check()

    async def stored_events(self, object_id: str) -> list[bytes]:
        """Return the frames of a run or a thread, oldest first; for the operator."""
        return await self.history.story(object_id)

    @property
    def history(self) -> History:
        """What is asked of the cold tier."""
        return self.services.history

    @property
    def tool_servers(self) -> "tuple[ToolServers, ...]":
        """The tool servers of the operator's file; none without one."""
        return self._kept.able.servers

    async def replies_recorded(self, user: UserContext) -> int:
        """Return how many replies of models are on record for a user; for rehearsals."""

        async def work(tx: Transaction) -> int:
            ((count,),) = await tx.execute(
                "select count(*) from steps where kind = 'model' and result is not null"
                " and run_id in (select run_id from runs where user_id = ?)",
                user.user_id,
            )
            return int(count)

        return await self._kept.tiers.warm.read(user, work)

    async def delete_user(self, name: str) -> Departed:
        """Remove a user and all that is theirs; for the operator.

        Raises:
            NotFound: no such user.
        """
        return await self._kept.departures.delete(name)

    async def accept_key(self) -> None:
        """Have all processes that begin from now on need the signing key of this one."""
        await self._kept.signing_key.accept()

    async def confinement(self) -> dict[str, bool]:
        """Return which measures confine hostile SQL and files on this machine."""
        return await self._kept.able.sandbox.capabilities()

    async def tiers(self) -> tuple[TierHealth, ...]:
        """Look at the tiers that a server can do without for a while, and at who brings runs."""
        kept = self._kept
        return await look_at((kept.tiers.hot.tier, kept.past.exporter, *kept.tiers.scheduler.tiers))

    async def close(self) -> None:
        """Let go of processes, threads and files."""
        kept = self._kept
        await kept.roster.leave()
        if isinstance(kept.model, Closing):
            await kept.model.close()
        await kept.able.sandbox.close()
        await kept.past.store.close()
        kept.passwords.close()
        await kept.tiers.lineage.end()
        await kept.tiers.warm.close()


@contextmanager
def _refusal_by_itself() -> Iterator[None]:
    """Raise the refusal of a store alone, out of the group that it has ended."""
    try:
        yield
    except ExceptionGroup as group:
        refusals, rest = group.split((Unusable, Conflict))
        if refusals is None or rest is not None:
            raise
        raise refusals.exceptions[0] from None
