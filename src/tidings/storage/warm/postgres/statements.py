"""Statements that connections have prepared: what one has learned of them serves all."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, TypeAlias

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from tidings.storage.warm.port import Row
from tidings.storage.warm.postgres.connections import STATEMENTS_MAX, PostgresSession

Learned: TypeAlias = Any
"""The driver's own: of what types the values and the columns of a statement are."""

_PREPARED = re.compile(r"(?:select|with|insert|update|delete)\b")
"""What SQL can prepare; the rest is seldom asked for."""
_UNFIT = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.DatatypeMismatchError,
)
"""What one of many statements has when the schema is another one than when it was learned."""


class Statements:
    """What the connections to one database prepare, each under the same name on all of them.

    Whoever prepares a statement that nobody knows waits for what the server says of it. That holds
    for every connection: one that has not prepared it sends the text, and with it all others that
    it lacks, in one message.
    """

    def __init__(self) -> None:
        self._learned: defaultdict[str, dict[str, Learned]] = defaultdict(dict)

    async def fetch(self, line: PostgresSession, sql: str, values: Sequence[Any]) -> list[Any]:
        """Return the rows of a statement, as the driver has them.

        Raises:
            ConnectionResetError: the schema has changed below what was prepared: that is forgotten,
                and the connection is not to be used again.
        """
        if not _PREPARED.match(sql):
            return list(await line.connection.fetch(sql, *values))
        statement = await self._ready(line, sql)
        with self._fitting(asyncpg.InvalidCachedStatementError):
            return list(await statement.fetch(*values))

    async def execute_many(self, line: PostgresSession, sql: str, rows: Sequence[Row]) -> None:
        """Run a statement for each row of values, in one message.

        Raises:
            ConnectionResetError: as `fetch`.
        """
        await (await self._ready(line, sql)).executemany(rows)

    async def _ready(self, line: PostgresSession, sql: str) -> Any:
        if sql not in line.ready:
            learned = self._learned[line.role]
            if sql in learned:
                await self._bring(line, learned)
            else:
                await self._learn(line, sql, learned)
        return line.ready[sql]

    async def _learn(self, line: PostgresSession, sql: str, learned: dict[str, Learned]) -> None:
        statement = await line.connection.prepare(sql, name=_name(sql))
        line.ready[sql] = statement
        if len(learned) < STATEMENTS_MAX:
            state = statement._state  # noqa: SLF001 - the driver keeps it for one connection
            state.attach()  # it stays when the connections that use it are gone
            learned[sql] = state

    async def _bring(self, line: PostgresSession, learned: dict[str, Learned]) -> None:
        """Prepare on a connection whatever others have prepared for the same role."""
        lacking = {sql: state for sql, state in learned.items() if sql not in line.ready}
        script = ";".join(f"prepare {_name(sql)} as {sql}\n" for sql in lacking)
        with self._fitting(*_UNFIT):
            await line.connection.execute(script)
        for sql, state in lacking.items():
            line.ready[sql] = PreparedStatement(line.connection, sql, state)

    @contextmanager
    def _fitting(self, *unfit: type[Exception]) -> Iterator[None]:
        """Forget what was learned if it does not fit the schema any more."""
        try:
            yield
        except unfit as error:
            self._learned.clear()
            raise ConnectionResetError from error


def _name(sql: str) -> str:
    """Name a statement by its text: wherever the name is known, it is the same statement."""
    return f"t_{sha256(sql.encode()).hexdigest()[:32]}"
