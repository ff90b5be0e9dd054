"""The system behind real sockets in the test's own process, with what a test wants to spoil.

The wiring is that of the application, except that there is no HTTP API beside the socket; the
socket layer's configuration is the product's.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.types import ASGIApp

from tests.hot.tiers import HotTier, InMemory
from tests.world import World, world
from tidings.cli.serve import configured
from tidings.domain.context import UserContext
from tidings.domain.ports import Clock
from tidings.domain.runs import Outcome
from tidings.events.positions import Positions
from tidings.gateway.presence import Presence
from tidings.gateway.socket import Backend
from tidings.gateway.sockets import Sockets
from tidings.health.levels import DeliveryLevels
from tidings.health.metrics import Metrics
from tidings.identity.elsewhere import Elsewhere
from tidings.identity.passwords import Passwords
from tidings.identity.service import Identity
from tidings.identity.tokens import Tokens
from tidings.protocol.connection import PACE, Pace
from tidings.runs.context import RunContext
from tidings.runs.queue import Limits
from tidings.storage.hot.port import Hints
from tidings.storage.warm.port import Database
from tidings.system import SystemClock

KEY = b"k" * 32
TICK_SECONDS = 0.05
DRAIN_SECONDS = 0.5
MANY_RUNS = Limits(runs=64, runs_per_user=64, lease_seconds=1.0)


class ShiftedClock(SystemClock):
    """The machine's clock; a test may make the wall clock or both jump."""

    def __init__(self) -> None:
        self.wall = 0.0
        self.slept = 0.0

    def now(self) -> float:
        return super().now() + self.wall + self.slept

    def monotonic(self) -> float:
        return super().monotonic() + self.slept


@dataclass(frozen=True, slots=True)
class Served:
    """A running server and its parts."""

    world: World
    identity: Identity
    presence: Presence
    metrics: Metrics
    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def context(self, token: str) -> UserContext:
        """Return who a token speaks for."""
        return await self.identity.authenticate(token)

    async def user(self, name: str) -> tuple[str, str]:
        """Make an account; return its id and a token."""
        made = await self.identity.add_user(name, f"the password of {name}")
        return made.user_id, await self.identity.issue_token(name)


async def tell(ctx: RunContext) -> Outcome:
    """Tell as many things as the text says, so long: `tell COUNT PAUSE_SECONDS [CHARACTERS]`."""
    count, pause, size = (*map(float, ctx.request.text.split()[1:]), 0.0)[:3]
    await ctx.plan("Tell it.", ["tell"])
    for n in range(int(count)):
        if n % 4 == 3:
            await ctx.delta("answer", f"piece {n} ".ljust(int(size)))
        else:
            await ctx.think(f"thought {n}".ljust(int(size), "."), n / count)
        await asyncio.sleep(pause)
    return Outcome("told")


@asynccontextmanager
async def served(
    folder: Path,
    *,
    wrap: Callable[[Database], Database] = lambda database: database,
    hints: Hints | None = None,
    hot: HotTier | None = None,
    clock: Clock | None = None,
    pace: Pace = PACE,
    limits: Limits = MANY_RUNS,
    port: int = 0,
    tick_seconds: float = TICK_SECONDS,
    around: Callable[[ASGIApp], ASGIApp] = lambda app: app,
) -> AsyncIterator[Served]:
    """Serve the store in `folder` around the block; a second time is a restart.

    `hot` is the hot tier, and `hints` stands in for its hints. `wrap` goes around the database,
    `around` around the application that speaks to sockets.
    """
    clock, passwords, hot = clock or SystemClock(), Passwords(), hot or InMemory()
    hints = hints or hot.hints
    async with world(
        folder, {"teller": tell}, wrap=wrap, clock=clock, limits=limits, hints=hints
    ) as w:
        await w.begin()
        identity = Identity(w.database, Tokens(KEY), passwords, hot.once, hot.rates, clock, w.ids)
        positions, metrics = Positions(w.database, clock), Metrics()
        presence = Presence(
            identity,
            positions,
            Elsewhere(hints, hot.precedence, hot.rates),
            tick_seconds=tick_seconds,
            drain_seconds=DRAIN_SECONDS,
        )
        levels = DeliveryLevels(metrics.history, clock)
        backend = Backend(identity, w.router, w.feed, positions, metrics, clock, pace, levels)
        sockets = around(Sockets(backend, presence, w.ids, origins=frozenset()))
        app = Starlette(routes=[WebSocketRoute("/ws", sockets)])
        with socket.create_server(("127.0.0.1", port), backlog=2048) as listening:
            built = Served(w, identity, presence, metrics, folder, listening.getsockname()[1])
            async with w.working(), asyncio.TaskGroup() as tasks:
                wheel = tasks.create_task(presence.run())
                server = QuietServer(configured(app))
                serving = tasks.create_task(server.serve(sockets=[listening]))
                try:
                    yield built
                finally:
                    server.should_exit = server.force_exit = True
                    await serving
                    wheel.cancel()
        passwords.close()


class QuietServer(uvicorn.Server):
    """Leaves the process's signals alone."""

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        await self._serve(sockets)
