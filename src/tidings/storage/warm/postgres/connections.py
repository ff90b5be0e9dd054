"""A bounded set of connections. One that is not known to be clean is closed, never used again."""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from struct import unpack_from
from typing import Any, TypeAlias, cast

import asyncpg

from tidings.domain.errors import InvalidInput, Unavailable
from tidings.storage.warm.postgres.faults import as_unavailable

APPLICATION = "tidings"
"""What every connection calls itself, for those who look who is there."""
CONNECTIONS_MAX = 16
CONNECTIONS_PER_USER_MAX = 4
WAIT_SECONDS = 1.0
CONNECT_SECONDS = 4.0
"""For some eight messages, one after the other: a distance of half a second is borne."""
LOOK_SECONDS = 2.0
CLOSE_SECONDS = 2.0
STATEMENTS_MAX = 512
STATEMENT_SECONDS = 5
LOCK_SECONDS = 4
IDLE_SECONDS = 10
UNACKNOWLEDGED_SECONDS = 10
LOOK_FOR_CLIENT_SECONDS = 2

Connection: TypeAlias = Any
"""The driver's own, which has no types."""

NOBODY = "none"
"""The role of a session that sees nothing until a transaction says for whom it is."""

_ORIGIN = (
    "select system_identifier || '.' || left(pg_walfile_name(pg_current_wal_lsn()), 8)"
    " from pg_control_system() where not pg_is_in_recovery()"
)
"""The cluster, and the timeline of its log: another one after a failover or a restore."""

_SETTINGS = {
    "application_name": APPLICATION,
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    "lock_timeout": f"{LOCK_SECONDS}s",
    "idle_in_transaction_session_timeout": f"{IDLE_SECONDS}s",
    "tcp_user_timeout": f"{UNACKNOWLEDGED_SECONDS}s",
    "client_connection_check_interval": f"{LOOK_FOR_CLIENT_SECONDS}s",
    "idle_session_timeout": "0",
    "row_security": "on",
    "standard_conforming_strings": "on",
}
"""Bounds that the server keeps, also for a client that is gone; and what a database or a login may
have been given otherwise."""


@dataclass(slots=True)
class PostgresSession:
    """A connection, the role that it has outside of transactions, and what it has prepared."""

    connection: Connection
    role: str = NOBODY
    ready: dict[str, Any] = field(default_factory=dict)


class Connections:
    """Connections to one database, at most so many; the newest idle one is used first."""

    def __init__(self, url: str, most: int = CONNECTIONS_MAX) -> None:
        self.origin = ""
        self._url = url
        self._most = most
        self._lent = 0
        self._free = asyncio.Semaphore(most)
        self._idle: list[PostgresSession] = []
        self._closed = False

    async def take(self, role: str) -> PostgresSession:
        """Return an idle connection, or a new one; while there may be more, none of another role.

        Raises:
            Unavailable: `storage_busy`: none was free in WAIT_SECONDS; `storage_unavailable`.
        """
        if self._closed:
            raise Unavailable("storage_unavailable", "The store is closing; try again shortly.")
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            raise Unavailable("storage_busy", "The store is busy; try again.") from None
        self._lent += 1
        return self._newest(role) or await self._opened()

    def give_back(self, line: PostgresSession) -> None:
        """Keep a clean connection for the next who asks; one that is closed is forgotten.

        So is one that has prepared more than STATEMENTS_MAX: it only ever takes more memory.
        """
        if self._closed or len(line.ready) > STATEMENTS_MAX:
            line.connection.terminate()
        elif not line.connection.is_closed():
            self._idle.append(line)
        self._return()

    async def close(self) -> None:
        """Close what is idle, in order; what is in use is closed when it is given back."""
        self._closed = True
        while self._idle:
            await close(self._idle.pop().connection)

    def _newest(self, role: str) -> PostgresSession | None:
        self._idle = [line for line in self._idle if not line.connection.is_closed()]
        own = next((line for line in reversed(self._idle) if line.role == role), None)
        if own is None and self._lent + len(self._idle) > self._most:
            own = self._idle[-1]
        if own is not None:
            self._idle.remove(own)
        return own

    def _return(self) -> None:
        self._lent -= 1
        self._free.release()

    async def _opened(self) -> PostgresSession:
        """Connect; if whoever waits for it is cut off, the connection is for the next."""
        asked = _Asked()
        try:
            return cast(PostgresSession, await asyncio.shield(self._open(asked)))
        except asyncio.CancelledError:
            asked.withdrawn = True
            if asked.line is not None:
                self.give_back(asked.line)
            raise

    async def _open(self, asked: "_Asked") -> PostgresSession | None:
        try:
            asked.line = PostgresSession(await self._looked_at(await connect(self._url)))
        except BaseException:
            self._return()
            if asked.withdrawn:
                return None  # nobody is left to be told
            raise
        if asked.withdrawn:
            self.give_back(asked.line)
        return asked.line

    async def _looked_at(self, connection: Connection) -> Connection:
        """See where a new connection leads; forget those to where the data are no more."""
        try:
            origin = await _origin(connection)
        except BaseException:
            connection.terminate()
            raise
        if origin != self.origin:
            self.origin = origin
            while self._idle:
                self._idle.pop().connection.terminate()
        return connection


@dataclass(slots=True)
class _Asked:
    """A connection that somebody waits for, or no longer."""

    line: PostgresSession | None = None
    withdrawn: bool = False


class Shares:
    """Lets each user have a few connections at a time, so that nobody waits for one who takes all.

    Units of one user often wait for each other's rows; here they wait without a connection.
    """

    def __init__(self) -> None:
        self._semaphores: dict[str, asyncio.Semaphore] = {}
        self._interested: Counter[str] = Counter()

    @asynccontextmanager
    async def one(self, user_id: str) -> AsyncIterator[None]:
        """Hold one of the user's shares around the block."""
        free = self._semaphores.setdefault(user_id, asyncio.Semaphore(CONNECTIONS_PER_USER_MAX))
        self._interested[user_id] += 1
        try:
            async with free:
                yield
        finally:
            self._interested[user_id] -= 1
            if not self._interested[user_id]:
                del self._interested[user_id], self._semaphores[user_id]


async def connect(url: str, **settings: str) -> Connection:
    """Open a connection; `settings` go before those that every connection has.

    Raises:
        Unavailable: `storage_unavailable`, `storage_busy`.
        InvalidInput: `bad_setting`: the URL is none.
    """
    with as_unavailable(), _understood():
        async with asyncio.timeout(CONNECT_SECONDS):
            connection = await asyncpg.connect(
                url,
                statement_cache_size=0,
                server_settings=_SETTINGS | settings,
            )
    connection.get_settings().add_python_codec(*_NUMERIC)
    return connection


@contextmanager
def _understood() -> Iterator[None]:
    """Say of a URL that it is none, without saying it: the driver may name a part of a password."""
    try:
        yield
    except ssl.SSLError:  # one kind of them is a wrong value as well
        raise
    except (asyncpg.ClientConfigurationError, ValueError):
        raise InvalidInput(
            "bad_setting",
            "TIDINGS_DATABASE_URL must be postgresql://user:password@host/database, with an sslmode"
            " that there is.",
        ) from None


async def _origin(connection: Connection) -> str:
    """Return which copy of the data a connection leads to; a copy out is one message each way.

    Raises:
        Unavailable: `storage_unavailable`: to one that only follows another.
    """
    found = bytearray()

    async def take(part: bytes) -> None:
        found.extend(part)

    with as_unavailable():
        async with asyncio.timeout(LOOK_SECONDS):
            await connection.copy_from_query(_ORIGIN, output=take)
    origin = found.decode().strip()
    if not origin:
        raise Unavailable("storage_unavailable", "The database only takes reads now.")
    return origin


async def close(connection: Connection) -> None:
    """Say goodbye; whoever does not answer is left."""
    try:
        await connection.close(timeout=CLOSE_SECONDS)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()


def _number(wire: bytes) -> int | float:
    """Read a sum of integers as what it is: digits to base 10,000, and the power of the first."""
    count, weight, sign, scale = unpack_from("!HhHH", wire)
    digits = unpack_from(f"!{count}H", wire, 8)
    value = sum(digit * Fraction(10_000) ** (weight - place) for place, digit in enumerate(digits))
    signed = -value if sign else value
    return float(signed) if scale else int(signed)


def _refused(value: object) -> bytes:
    """Refuse to send a number as `numeric`, which no column is."""
    raise TypeError(f"{type(value).__name__} is not sent as numeric")


_NUMERIC: tuple[Any, ...] = (
    *(1700, "numeric", "pg_catalog", [], "scalar"),
    *(_refused, _number, "binary"),
)
"""How sums are read, by the type's number, which never changes: to ask for it are round trips."""
