"""Two servers on one store, each with a line of its own to one Valkey, and clients at both."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.devices import device, eventually
from tests.faults.served import Served, served
from tests.harness.proxy import FaultProxy, proxying
from tests.harness.stored import stored_streams
from tests.harness.valkey import ValkeyServer
from tests.hot.tiers import on_server
from tests.invariants import check
from tidings.domain.tiers import TierState
from tidings.storage.hot.valkey import Valkey

MANY_EVENTS = "tell 60 0.02"


@dataclass(frozen=True, slots=True)
class GatewayNode:
    """A server, its tier, and what spoils the way from it to Valkey."""

    server: Served
    tier: Valkey
    proxy: FaultProxy

    async def state(self) -> TierState:
        """Return how the server finds its hot tier."""
        return (await self.tier.health()).state


@asynccontextmanager
async def gateway(
    folder: Path, valkey: ValkeyServer, tick_seconds: float = 0.05
) -> AsyncIterator[GatewayNode]:
    """Have one server of several around the block."""
    async with (
        proxying(valkey.port) as proxy,
        on_server(f"redis://127.0.0.1:{proxy.port}") as tier,
        served(folder, hot=tier, tick_seconds=tick_seconds) as server,
    ):
        yield GatewayNode(server, tier, proxy)


Fault = Callable[[GatewayNode, GatewayNode], None]


async def story(
    folder: Path,
    valkey: ValkeyServer,
    spoil: Fault,
    mend: Fault,
    states: tuple[TierState, TierState],
) -> None:
    """Let two devices at two servers see three runs: before the fault into it, in it, after it.

    In the fault the servers find their tiers in these `states`; nobody is disconnected by it, and
    nothing is missing, doubled or moved. When it is over the servers find back by themselves.
    """
    async with gateway(folder, valkey) as one, gateway(folder, valkey) as two:
        ana, token = await one.server.user("ana")
        async with (
            device(one.server.url, ana, token, "d1") as first,
            device(two.server.url, ana, token, "d2") as second,
        ):
            into = await first.ask(MANY_EVENTS, "m1")
            await second.session.follow(f"thread:{into.thread_id}")
            await second.more()
            connected = {*one.server.presence._listeners, *two.server.presence._listeners}

            spoil(one, two)
            await found(states, one, two)
            within = await second.ask("tell 20 0.01", "m2", into.thread_id)
            await tickets_go_on(one.server, two.server, token)
            for client in (first, second):
                await client.until_end(into, within)

            mend(one, two)
            await found((TierState.OK, TierState.OK), one, two)
            after = await first.ask("tell 20 0.01", "m3", into.thread_id)
            for client in (first, second):
                await client.until_end(after)
            assert connected == {*one.server.presence._listeners, *two.server.presence._listeners}
        log = stored_streams(folder)
        check(log, [first.history, second.history], at_head=True, ended=True, proven=True)
        await eventually(lambda: not one.server.world.feed._tails)


async def found(states: tuple[TierState, ...], *nodes: GatewayNode) -> None:
    """Wait until the servers find their tiers in these states."""
    async with asyncio.timeout(60):
        while tuple([await node.state() for node in nodes]) != states:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def tickets_go_on(one: Served, two: Served, token: str) -> None:
    """See that a ticket of one server opens a connection at the other, whatever the tier does."""
    context = await one.context(token)
    assert await two.identity.redeem(one.identity.ticket(context)) == context
