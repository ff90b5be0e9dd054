"""The warm tier on PostgreSQL: a unit of work is a transaction on a connection of its own.

What SQLite has by its single writer, the SQL asks for: rows that a decision rests on are read by
`lock`, and a unit that another one was faster than is run again. See docs/decisions/0051.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Any, TypeVar

from tidings.domain.context import SERVER, Scope, UserContext
from tidings.storage.warm.port import Anywhere, Arrivals, Transaction, Work
from tidings.storage.warm.postgres.connections import (
    CONNECTIONS_MAX,
    NOBODY,
    Connections,
    Shares,
)
from tidings.storage.warm.postgres.faults import AGAIN, as_unavailable, unanswered
from tidings.storage.warm.postgres.security import SERVER_ROLE, USER_ROLE, USER_SETTING
from tidings.storage.warm.postgres.statements import Statements
from tidings.storage.warm.postgres.transaction import (
    ONE_STATEMENT,
    Longer,
    PostgresTransaction,
)
from tidings.storage.warm.postgres.verification import verify

T = TypeVar("T")

UNIT_SECONDS = 10.0
ATTEMPTS_MAX = 4
PAUSE_SECONDS_MAX = 0.05

ANYWHERE = Anywhere()
_READ = "begin isolation level repeatable read, read only"
_WRITE = "begin isolation level read committed"


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
        self._statements = Statements()
        self._unit_seconds = unit_seconds
        self._verifying = asyncio.Lock()
        self._verified = ""
        self._arrivals = arrivals
        self._longer: set[object] = set()

    async def write(self, scope: Scope, work: Work[T]) -> T:
        return await self._run(_WRITE, scope, work)

    async def read(self, scope: Scope, work: Work[T]) -> T:
        return await self._run(_READ, scope, work)

    async def time(self) -> float:
        """Return what time it is at the server, in seconds since 1970 UTC."""
        return await self.read(SERVER, _time)

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
        """Run the unit; what the server reads is taken for one statement, unless it is known."""
        writes = begin is _WRITE
        if isinstance(scope, UserContext):
            return await self._done(NOBODY, f"{begin}; {_within(scope)}", work, writes=writes)
        if not writes and _written_at(work) not in self._longer:
            try:
                return await self._done(SERVER_ROLE, ONE_STATEMENT, work, writes=False)
            except Longer:
                self._longer.add(_written_at(work))
        return await self._done(SERVER_ROLE, begin, work, writes=writes)

    async def _done(self, role: str, opening: str, work: Work[T], *, writes: bool) -> T:
        async with self._lent(role, opening) as transaction:
            if not self._is_verified:
                raise _Moved
            result = await work(transaction)
            if writes:  # what was read stays so, however that ends
                await transaction.commit()
        self._tell(transaction)
        return result

    async def _verify(self) -> None:
        async with self._lent(NOBODY, _READ) as transaction:
            origin = self._connections.origin
            await verify(transaction)
        await self._arrivals.arrive(origin, self._write_first, self._time_first)
        self._verified = origin

    async def _write_first(self, work: Work[None]) -> None:
        """Run a unit before all others."""
        async with self._lent(SERVER_ROLE, _WRITE) as transaction:
            await work(transaction)
            await transaction.commit()
        self._tell(transaction)

    async def _time_first(self) -> float:
        """Return what time it is at the server, before any unit."""
        async with self._lent(SERVER_ROLE, ONE_STATEMENT) as transaction:
            return await _time(transaction)

    def _tell(self, transaction: PostgresTransaction) -> None:
        for note in transaction.notes:
            self._announce(note)

    @asynccontextmanager
    async def _lent(self, role: str, opening: str) -> AsyncIterator[PostgresTransaction]:
        """Lend a connection; it comes back idle and out of any transaction, or closed."""
        line = await self._connections.take(role)
        transaction = PostgresTransaction(line, opening, self._statements)
        try:
            if line.role != role:
                await transaction.become(role)
            yield transaction
        finally:
            try:
                await transaction.leave()
            finally:
                self._connections.give_back(line)


async def _time(tx: Transaction) -> float:
    """Return the clock's time, not that of the transaction's begin."""
    ((now,),) = await tx.execute("select extract(epoch from clock_timestamp())::double precision")
    return float(now)


def _within(context: UserContext) -> str:
    """Return what holds the rest of a transaction to a user's rows.

    Ids of users are letters, digits, `_` and `-`: `UserContext` takes nothing else.
    """
    return f"set local role {USER_ROLE}; set local {USER_SETTING} = '{context.user_id}'"


def _written_at(work: Work[T]) -> object:
    """Return what units of work have in common that differ in their values alone."""
    function = work.func if isinstance(work, partial) else work
    return getattr(function, "__code__", function)
