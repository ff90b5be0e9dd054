"""Users who leave: everything that is theirs goes, and nothing of anybody else's."""

import asyncio
from functools import partial
from typing import NamedTuple, Protocol

from tidings.domain.context import SERVER, UserContext
from tidings.domain.errors import NotFound
from tidings.domain.events import user_stream
from tidings.domain.ports import Clock
from tidings.domain.runs import CancelReason
from tidings.events import erasures, log
from tidings.identity import store
from tidings.identity.elsewhere import SessionsEnded
from tidings.router import threads
from tidings.runs import queue
from tidings.storage.warm.objects import take_turn
from tidings.storage.warm.port import Database, Transaction

LETTING_GO_SECONDS = 10.0
"""How long workers may take to let go of the user's runs; then they are cut off by the fence."""
LOOK_SECONDS = 0.1
THREADS_PER_LOOK_MAX = 100
DEPARTURE = "departure"
"""Stands for a session where a user's own is not there any more."""

_REST = (
    "delete from webhook_deliveries where webhook_id in"
    " (select webhook_id from webhooks where user_id = ?)",
    "delete from steps where run_id in (select run_id from runs where user_id = ?)",
    *(
        f"delete from {table} where user_id = ?"  # noqa: S608 - names of tables
        for table in (
            "webhooks", "pauses", "reservations", "reports", "runs", "commands", "files",
            "positions", "outbox", "inbox", "preferences", "tool_permissions", "usage_days",
        )
    ),
)  # fmt: skip
"""What is left when the threads are gone, in an order that references allow."""


class UserFiles(Protocol):
    """Where users' files are."""

    async def delete_all(self, context: UserContext) -> int:
        """Remove all of a user's; return how many there were."""
        ...


class Departed(NamedTuple):
    """What a user has left behind, and is gone."""

    threads: int
    files: int


class Departures:
    """Deletes users. What a crash cuts off is gone on with when it is called again.

    Each unit of work sees the rows of this one user alone, where the store has walls.
    """

    def __init__(self, database: Database, files: UserFiles, clock: Clock) -> None:
        self._database = database
        self._files = files
        self._clock = clock

    async def delete(self, name: str) -> Departed:
        """Shut the user out, stop their runs, and remove all that is theirs.

        Their id is kept, so that what was on its way is refused when it comes. In the history it is
        noted: whoever keeps that erases it with the next look, and once more an hour later.

        Raises:
            NotFound: no such user.
        """
        user = await self._shut_out(name)
        await self._stop_runs(user)
        count = 0
        while gone := await self._database.write(user, partial(_remove_threads, user=user)):
            count += gone
        files = await self._files.delete_all(user)
        await self._database.write(user, partial(_remove_rest, user=user))
        return Departed(count, files)

    async def _shut_out(self, name: str) -> UserContext:
        async def work(tx: Transaction) -> UserContext:
            found = await store.find_user(tx, name)
            if found is None:
                raise NotFound(f"There is no user named {name}.")
            await store.disable_user(tx, name)
            tx.announce(SessionsEnded(found[0].user_id))
            return UserContext(found[0].tenant_id, found[0].user_id, DEPARTURE)

        return await self._database.write(SERVER, work)

    async def _stop_runs(self, user: UserContext) -> None:
        """Ask for the end of every open run; those that are held are waited for, for a while."""
        await self._database.write(user, partial(_cancel_runs, user=user))
        until = self._clock.monotonic() + LETTING_GO_SECONDS
        held = partial(_held, user=user)
        while await self._database.read(user, partial(held, now=self._clock.now())):
            if self._clock.monotonic() >= until:
                break
            await asyncio.sleep(LOOK_SECONDS)
        await self._database.write(user, partial(queue.cut_off, context=user))


async def _cancel_runs(tx: Transaction, user: UserContext) -> None:
    rows = await tx.execute(
        "select run_id from runs where user_id = ? and state <> 'ended'", user.user_id
    )
    for (run_id,) in rows:
        await queue.request_cancel(tx, user, run_id, CancelReason.USER)


async def _held(tx: Transaction, user: UserContext, now: float) -> bool:
    rows = await tx.execute(
        "select 1 from runs where user_id = ? and state = 'running' and lease_until >= ? limit 1",
        user.user_id,
        now,
    )
    return bool(rows)


async def _remove_threads(tx: Transaction, user: UserContext) -> int:
    await take_turn(tx, user)
    rows = await tx.execute(
        "select thread_id from threads where user_id = ? limit ?",
        user.user_id,
        THREADS_PER_LOOK_MAX,
    )
    for (thread_id,) in rows:
        await threads.remove(tx, user, thread_id)
    return len(rows)


async def _remove_rest(tx: Transaction, user: UserContext) -> None:
    """Remove what belongs to no thread; the user's name goes last, so that all of it is done."""
    await take_turn(tx, user)
    await log.remove_stream(tx, user, user_stream(user.user_id))
    for statement in _REST:
        await tx.execute(statement, user.user_id)
    await erasures.note_user(tx, user.user_id)
    await store.bury(tx, user.user_id)
