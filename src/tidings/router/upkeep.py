"""Upkeep: what goes on behind the scenes, so that a store does not only ever grow."""

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from tidings.domain.context import SERVER
from tidings.domain.ports import Clock
from tidings.events.compaction import RUNS_PER_PASS_MAX, compact
from tidings.events.lineage import Continuity
from tidings.events.retention import ENDED_AT, trim
from tidings.health.outage import Outage
from tidings.storage.warm.duties import Duty
from tidings.storage.warm.port import Database, Row, Transaction

PAUSE_SECONDS = 60.0
DUTY_SECONDS = 180.0
"""Whose process does not keep the upkeep for so long, has lost it."""
SWEEP_SECONDS = 3600.0
SWEPT_ROWS_PER_BATCH_MAX = 500
COMMAND_KEPT_SECONDS = 30 * 86_400
POSITION_KEPT_SECONDS = 400 * 86_400
SESSION_KEPT_SECONDS = 86_400
NODE_KEPT_SECONDS = 86_400
UPLOAD_KEPT_SECONDS = 86_400
"""An upload that has not ended for so long was cut off; no connection lives that long."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Policy:
    """When pieces of answers are joined after a run's end, and how long events are kept.

    Both in seconds; None keeps for ever.
    """

    compact_after: float = 3600.0
    keep: float | None = None


@dataclass(frozen=True, slots=True)
class Stale:
    """Rows that nobody needs any more: how to find them by age, and how to remove each."""

    find: str
    remove: tuple[str, ...]


STEPS = Stale(
    "select s.run_id, s.key from runs r join steps s on s.run_id = r.run_id"  # noqa: S608 - a constant
    f" where r.state = 'ended' and {ENDED_AT} < ? limit ?",
    ("delete from steps where run_id = ? and key = ?",),
)
COMMANDS = Stale(
    "select user_id, command_id from commands where created_at < ? limit ?",
    ("delete from commands where user_id = ? and command_id = ?",),
)
POSITIONS = Stale(
    "select user_id, device, stream, acknowledged_at from positions"
    " where acknowledged_at < ? limit ?",
    (
        "delete from positions"
        " where user_id = ? and device = ? and stream = ? and acknowledged_at = ?",
    ),
)
SESSIONS = Stale(
    "select session_id from sessions where expires_at < ? limit ?",
    (
        "delete from refresh_tokens where session_id = ?",
        "delete from sessions where session_id = ?",
    ),
)
"""With their refresh tokens: while a session may be renewed, a spent token betrays a thief."""

NODES = Stale(
    "select node_id, heard_at from nodes where heard_at < ? limit ?",
    ("delete from nodes where node_id = ? and heard_at = ?",),
)
"""Processes that were cut off, and that nobody has to miss any more."""


class Uploads(Protocol):
    """Where uploads are kept."""

    async def sweep(self, before: float) -> int:
        """Remove what uploads that began before a time and never ended have left; count them."""
        ...


class Upkeep:
    """Joins, trims and forgets by policy, in small transactions. `run` does it for ever.

    One process of those that work on a store does it, by a duty; two would do no harm.
    """

    def __init__(
        self,
        database: Database,
        duty: Duty,
        lineage: Continuity,
        uploads: Uploads,
        clock: Clock,
        policy: Policy,
    ) -> None:
        self._database = database
        self._duty = duty
        self._lineage = lineage
        self._uploads = uploads
        self._clock = clock
        self._policy = policy
        self._swept_at = float("-inf")
        self._outage = Outage(_log, "upkeep waits for its next turn", OSError)

    async def run(self) -> None:
        """Take a turn each minute, for ever."""
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            await self.turn()

    async def turn(self) -> None:
        """Do what is due now; what the store or the disk refuses is tried again in the next."""
        with self._outage:
            await self._do_what_is_due()

    async def _do_what_is_due(self) -> None:
        await self._lineage.advance()
        if not await self._duty.mine():
            return
        while await self._join() == RUNS_PER_PASS_MAX:
            await self._lineage.advance()  # after a busy hour joining takes long
            if not await self._duty.mine():
                return
        now = self._clock.now()
        if abs(now - self._swept_at) >= SWEEP_SECONDS:
            await self._sweep(now)
            self._swept_at = now

    async def _join(self) -> int:
        now = self._clock.now()
        return await compact(self._database, now - self._policy.compact_after, now)

    async def _sweep(self, now: float) -> None:
        if self._policy.keep is not None:
            await trim(self._database, now - self._policy.keep)
            await self._forget(STEPS, now - self._policy.keep)
        await self._forget(COMMANDS, now - COMMAND_KEPT_SECONDS)
        await self._forget(POSITIONS, now - POSITION_KEPT_SECONDS)
        await self._forget(SESSIONS, now - SESSION_KEPT_SECONDS)
        await self._forget(NODES, now - NODE_KEPT_SECONDS)
        await self._uploads.sweep(now - UPLOAD_KEPT_SECONDS)

    async def _forget(self, stale: Stale, before: float) -> None:
        """Look beside the writer, then remove what was found, a bounded number at a time."""
        while rows := await self._database.read(SERVER, partial(_find, stale=stale, before=before)):
            await self._database.write(SERVER, partial(_remove, stale=stale, rows=rows))


async def _find(tx: Transaction, stale: Stale, before: float) -> list[Row]:
    return await tx.execute(stale.find, before, SWEPT_ROWS_PER_BATCH_MAX)


async def _remove(tx: Transaction, stale: Stale, rows: list[Row]) -> None:
    for statement in stale.remove:
        await tx.execute_many(statement, rows)
