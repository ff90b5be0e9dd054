"""The roster: every process writes now and then how it is, and reads how the others are.

They meet in the store of the truth, as in everything else. See docs/decisions/0066.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import msgspec

from tidings.domain.context import SERVER
from tidings.domain.errors import Unavailable
from tidings.domain.ports import Clock
from tidings.health.nodes import GONE_SECONDS, Heard, Node, NodeReport, replaced, room, standing
from tidings.health.overview import NodeHealth
from tidings.storage.warm.port import Database, Transaction

BEAT_SECONDS = 5.0
NODES_READ_MAX = 500

Report = Callable[[], Awaitable[NodeReport]]
"""Says how this process is, in bounded time."""


class Roster:
    """The nodes that work on the store; without a `run`, or before its first beat, this one alone.

    What was heard last stands while the store does not answer.
    """

    def __init__(self, database: Database, node: Node, own_room: int, clock: Clock) -> None:
        """`own_room` is how many runs are worked on at once as far as this process knows.

        That stands until a worker was heard, for GONE_SECONDS: a fleet that starts has no order.
        """
        self._database = database
        self._node = node
        self._clock = clock
        self._made_at = clock.monotonic()
        self._since = float("-inf")
        self._heard_at: float | None = None
        self._assumed_room = own_room
        self.room = own_room
        self.nodes: tuple[NodeHealth, ...] = ()

    async def run(self, report: Report) -> None:
        """Tell and hear, for ever."""
        while True:
            await self.beat(await report())
            await asyncio.sleep(BEAT_SECONDS)

    async def beat(self, report: NodeReport) -> None:
        """Tell once how this process is, and hear how all are; what fails is left to the next."""
        now, since = self._clock.now(), self._since
        if self._heard_at is None:
            self._node = self._begun(now)
        if self._heard_at is not None and now - self._heard_at > GONE_SECONDS / 2:
            since = now  # nobody could be heard: others have been silent as well

        async def work(tx: Transaction) -> list[Heard]:
            await _tell(tx, Heard(self._node, now, report))
            heard = await _hear(tx)
            over = replaced(heard, now, since)
            for node_id in over:
                await _forget(tx, node_id)
            return [one for one in heard if one.node.node_id not in over]

        try:
            heard = await self._database.write(SERVER, work)
        except Unavailable:
            return
        self._heard_at, self._since = now, since
        self.nodes = standing(heard, self._node.node_id, now, since)
        is_worker_known = any(node.room for node in self.nodes)
        if is_worker_known or now - self._node.started_at > GONE_SECONDS:
            self._assumed_room = 0
        self.room = room(self.nodes) or self._assumed_room

    def _begun(self, now: float) -> Node:
        """Return this node with when it began by the clock that all go by, known only now."""
        return replace(self._node, started_at=now - (self._clock.monotonic() - self._made_at))

    async def leave(self) -> None:
        """Say goodbye, so that nobody misses this process."""
        if self._heard_at is None:
            return
        try:
            await self._database.write(SERVER, lambda tx: _forget(tx, self._node.node_id))
        except Unavailable:
            return  # it is missed, then, until another one takes its place


async def _tell(tx: Transaction, told: Heard) -> None:
    node = told.node
    await tx.execute(
        "insert into nodes (node_id, name, role, version, started_at, heard_at, report)"
        " values (?, ?, ?, ?, ?, ?, ?)"
        " on conflict (node_id) do update"
        "  set heard_at = excluded.heard_at, report = excluded.report",
        node.node_id,
        node.name,
        node.role,
        node.version,
        node.started_at,
        told.heard_at,
        msgspec.json.encode(told.report).decode(),
    )


async def _hear(tx: Transaction) -> list[Heard]:
    rows = await tx.execute(
        "select node_id, name, role, version, started_at, heard_at, report from nodes"
        " order by heard_at desc limit ?",
        NODES_READ_MAX,
    )
    return [
        Heard(Node(*identity), heard_at, _report(report)) for *identity, heard_at, report in rows
    ]


def _report(text: str) -> NodeReport:
    """Read what a node has told; one of another version may speak otherwise."""
    try:
        return msgspec.json.decode(text, type=NodeReport)
    except msgspec.MsgspecError:
        return NodeReport()


async def _forget(tx: Transaction, node_id: str) -> None:
    await tx.execute("delete from nodes where node_id = ?", node_id)
