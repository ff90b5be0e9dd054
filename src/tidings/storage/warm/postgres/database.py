"""The warm tier on PostgreSQL: a unit of work is a transaction on a connection of its own.

What SQLite has by its single writer, the SQL asks for: rows that a decision rests on are read by
`lock`, and a unit that another one was faster than is run again. See docs/decisions/0051.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from random import Random
from typing import Any, TypeVar

from tidings.domain.context import Scope, UserContext
from tidings.storage.warm.port import Anywhere, Arrivals, Work
from tidings.storage.warm.postgres.connections import CONNECTIONS_MAX, Connections, Shares
from tidings.storage.warm.postgres.faults import AGAIN, as_unavailable, unanswered
from tidings.storage.warm.postgres.security import SERVER_ROLE, USER_ROLE, USER_SETTING
from tidings.storage.warm.postgres.transaction import PostgresTransaction
from tidings.storage.warm.postgres.verification import verify

T = TypeVar("T")

UNIT_SECONDS = 10.0
ATTEMPTS_MAX = 4
PAUSE_SECONDS_MAX = 0.05

ANYWHERE = Anywhere()
_READ = "begin isolation level repeatable read, read only"
_WRITE = "begin isolation level read committed"
_AS_SERVER = f"set local role {SERVER_ROLE}"


class _Moved(Exception):
    """The data are elsewhere since the last look: look again before anything is done."""


class PostgresDatabase:
    """One database; any number of processes may work on it.

    Before the first unit of work it is looked at: whether the schema is this version's, and whether
    each user's rows are walled off.
    """

    def __init__(
        self,
        url: str,
        announce: Callable[[object], None],
        random: Random,
        connections: int = CONNECTIONS_MAX,
        unit_seconds: float = UNIT_SECONDS,
        arrivals: Arrivals = ANYWHERE,
    ) -> None:
        """Connect to nothing yet; `announce` is called with each note of a committed unit.

        `arrivals` hears where the data are before the first unit, and before the first one after
        they have come to be elsewhere.
        """
        self._announce = announce
        self._random = random
        self._connections = Connections(url, connections)
        self._shares = Shares()
        self._unit_seconds = unit_seconds
        self._verifying = asyncio.Lock()
        self._verified = ""
        self._arrivals = arrivals

    async def write(self, scope: Scope, work: Work[T]) -> T:
        return await self._run(_WRITE, scope, work)

    async def read(self, scope: Scope, work: Work[T]) -> T:
        return await self._run(_READ, scope, work)

    async def check(self) -> None:
        """Look at the schema and its walls, once wherever the data are.

        The engine looks after its files itself.

        Raises:
            Unusable: `store_outdated`, `store_too_new`, `store_unprotected`, `store_unfinished`.
            Unavailable: it cannot be told now.
        """
        async with self._verifying:
            if not self._is_verified:
                await self._in_time(self._verify())

    async def close(self) -> None:
        """Say goodbye to the server; units under way are cut off."""
        await self._connections.close()

    async def _run(self, begin: str, scope: Scope, work: Work[T]) -> T:
        if not self._is_verified:
            await self.check()
        try:
            return await self._in_time(self._in_turn(begin, scope, work))
        except _Moved:
            await self.check()
            return await self._in_time(self._in_turn(begin, scope, work))

    @property
    def _is_verified(self) -> bool:
        return bool(self._verified) and self._verified == self._connections.origin

    async def _in_time(self, doing: Coroutine[Any, Any, T]) -> T:
        try:
            async with asyncio.timeout(self._unit_seconds):
                with as_unavailable():
                    return await doing
        except TimeoutError:
            raise unanswered() from None

    async def _in_turn(self, begin: str, scope: Scope, work: Work[T]) -> T:
        if not isinstance(scope, UserContext):
            return await self._until_done(begin, scope, work)
        async with self._shares.one(scope.user_id):
            return await self._until_done(begin, scope, work)

    async def _until_done(self, begin: str, scope: Scope, work: Work[T]) -> T:
        """Run the unit, and again while others are faster or the connection is lost."""
        for _ in range(ATTEMPTS_MAX - 1):
            try:
                return await self._once(begin, scope, work)
            except AGAIN:
                await asyncio.sleep(self._random.uniform(0, PAUSE_SECONDS_MAX))
        return await self._once(begin, scope, work)

    async def _once(self, begin: str, scope: Scope, work: Work[T]) -> T:
        async with self._lent(is_users=isinstance(scope, UserContext)) as transaction:
            if not self._is_verified:
                raise _Moved
            await transaction.begin(f"{begin}; {_within(scope)}")
            result = await work(transaction)
            if begin is not _READ:  # what was read stays so, however that ends
                await transaction.commit()
        for note in transaction.notes:
            self._announce(note)
        return result

    async def _verify(self) -> None:
        async with self._lent(is_users=False) as transaction:
            origin = self._connections.origin
            await transaction.begin(_READ)
            await verify(transaction)
        await self._arrivals.arrive(origin, self._write_first)
        self._verified = origin

    async def _write_first(self, work: Work[None]) -> None:
        """Run a unit before all others."""
        async with self._lent(is_users=False) as transaction:
            await transaction.begin(f"{_WRITE}; {_AS_SERVER}")
            await work(transaction)
            await transaction.commit()
        for note in transaction.notes:
            self._announce(note)

    @asynccontextmanager
    async def _lent(self, *, is_users: bool) -> AsyncIterator[PostgresTransaction]:
        """Lend a connection; it comes back idle and out of any transaction, or closed."""
        connection = await self._connections.take()
        transaction = PostgresTransaction(connection, is_users=is_users)
        try:
            yield transaction
        finally:
            try:
                await transaction.leave()
            finally:
                self._connections.give_back(connection)


def _within(scope: Scope) -> str:
    """Return what holds the rest of a transaction to a scope.

    Ids of users are letters, digits, `_` and `-`: `UserContext` takes nothing else.
    """
    if not isinstance(scope, UserContext):
        return _AS_SERVER
    return f"set local role {USER_ROLE}; set local {USER_SETTING} = '{scope.user_id}'"
