"""One transaction on one connection."""

import hashlib
from collections.abc import Coroutine, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, islice
from typing import Any, NamedTuple

import asyncpg

from tidings.storage.warm.port import Row
from tidings.storage.warm.postgres.connections import NOBODY, PostgresSession
from tidings.storage.warm.postgres.dialect import combined, numbered, repeated
from tidings.storage.warm.postgres.faults import committing
from tidings.storage.warm.postgres.statements import Statements

ROWS_TOGETHER_MAX = 8
"""How many rows of one insertion go together with other statements; more go on their own."""

ONE_STATEMENT = ""
_FOR_ALL = " -- for all"
"""Marks the server's own statements: what is prepared for one role would be planned again for the
other, each time."""


class Longer(Exception):
    """A unit that was taken for one statement has another: it needs a transaction."""


class BoundStatement(NamedTuple):
    """A statement and its values, or `rows` of them."""

    sql: str
    values: tuple[Any, ...] = ()
    rows: Sequence[Row] = ()


class PostgresTransaction:
    """Statements inside one unit of work.

    `opening` goes before the first one. With ONE_STATEMENT there is no transaction, and room for
    one that reads.
    """

    def __init__(self, line: PostgresSession, opening: str, statements: Statements) -> None:
        self.notes: list[object] = []
        self._statements = statements
        self._connection = line.connection
        self._line = line
        self._opening = opening
        self._begun = False
        self._midway = False
        self._led = 0

    async def execute(self, sql: str, *values: Any) -> list[Row]:
        (rows,) = await self._ask([BoundStatement(sql, values)])
        return rows

    async def lock(self, sql: str, *values: Any) -> list[Row]:
        return await self.execute(f"{sql} for no key update", *values)

    async def execute_many(self, sql: str, rows: list[Row]) -> None:
        if rows:
            await self._ask([BoundStatement(sql, rows=rows)])

    async def together(self, *parts: Coroutine[Any, Any, Any]) -> list[Any]:
        """Lead the parts from statement to statement: what all of them ask for is one message."""
        results: dict[int, Any] = {}
        answers: dict[int, Any] = dict.fromkeys(range(len(parts)))
        try:
            while True:
                asked: dict[int, list[BoundStatement]] = {}
                for place, answer in answers.items():
                    try:
                        asked[place] = self._lead(parts[place], answer)
                    except StopIteration as stop:
                        results[place] = stop.value
                if not asked:
                    break
                found = iter(await self._ask(list(chain(*asked.values()))))
                answers = {place: list(islice(found, len(own))) for place, own in asked.items()}
        finally:
            for part in parts:
                part.close()
        return [results[place] for place in range(len(parts))]

    async def turn(self, name: str) -> None:
        key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
        await self._say(f"select pg_advisory_xact_lock({key})")

    def announce(self, note: object) -> None:
        self.notes.append(note)

    async def become(self, role: str) -> None:
        """Let the connection act for another role whenever a transaction does not say which."""
        with self._command():
            await self._connection.execute(f"set role {role}")
        self._line.role = role

    async def commit(self) -> None:
        """Commit what was done.

        Raises:
            Undecided: `storage_unavailable`: whether it is committed is not known.
        """
        if not self._begun:
            return
        with committing(), self._command():
            outcome = await self._connection.execute("commit")
        if outcome != "COMMIT":
            raise RuntimeError("a unit of work went on after one of its statements had failed")

    async def leave(self) -> None:
        """Roll back what is not committed; close a connection in the middle of a command."""
        try:
            if not self._midway and self._connection.is_in_transaction():
                with suppress(OSError, asyncpg.PostgresError), self._command():
                    await self._connection.execute("rollback")
        finally:
            if self._midway:
                self._connection.terminate()

    def _lead(self, part: Coroutine[Any, Any, Any], answer: Any) -> list[BoundStatement]:
        """Let a part go on to what it asks for next."""
        self._led += 1
        try:
            asked: list[BoundStatement] = part.send(answer)
            return asked
        finally:
            self._led -= 1

    async def _ask(self, statements: list[BoundStatement]) -> list[list[Row]]:
        """Return the rows of each; inside a part, whoever leads it asks."""
        if self._led:
            return await _Asked(statements)
        if len(statements) <= 1:
            return [await self._one(statement) for statement in statements]
        small = [_as_one(statement) for statement in statements]
        answers = {
            place: await self._one(statement)
            for place, (statement, as_one) in enumerate(zip(statements, small, strict=True))
            if as_one is None
        }
        places = [place for place, as_one in enumerate(small) if as_one is not None]
        found = await self._at_once([one for one in small if one is not None])
        answers |= dict(zip(places, found, strict=True))
        return [answers[place] for place in range(len(statements))]

    async def _at_once(self, statements: list[BoundStatement]) -> list[list[Row]]:
        if len(statements) <= 1:
            return [await self._one(statement) for statement in statements]
        sql, telling = combined(tuple(statement.sql for statement in statements))
        values = [value for statement in statements for value in statement.values]
        (told,) = await self._fetch(sql, values)
        rows = dict(zip(telling, told, strict=False))
        return [[tuple(row) for row in rows.get(place, ())] for place in range(len(statements))]

    async def _one(self, statement: BoundStatement) -> list[Row]:
        sql = numbered(statement.sql)
        if not statement.rows:
            return [tuple(row) for row in await self._fetch(sql, statement.values)]
        await self._open(sql)
        with self._command():
            await self._statements.execute_many(self._line, self._marked(sql), statement.rows)
        return []

    async def _fetch(self, sql: str, values: Sequence[Any]) -> list[Any]:
        await self._open(sql)
        with self._command():
            return await self._statements.fetch(self._line, self._marked(sql), values)

    async def _open(self, sql: str) -> None:
        """Begin before the first statement, if this is a transaction."""
        if self._opening and not self._begun:
            await self._say("")
        elif not self._opening and (self._begun or not sql.startswith("select")):
            raise Longer
        self._begun = True

    def _marked(self, sql: str) -> str:
        return sql if self._line.role == NOBODY else sql + _FOR_ALL

    async def _say(self, statement: str) -> None:
        """Run a statement without values; with what opens the transaction it is one message."""
        begun, self._begun = self._begun, True
        with self._command():
            await self._connection.execute(statement if begun else f"{self._opening};{statement}")

    @contextmanager
    def _command(self) -> Iterator[None]:
        """Know, whatever happens in the block, whether the server has answered."""
        self._midway = True
        try:
            yield
        except asyncpg.PostgresError:
            self._midway = False
            raise
        except asyncpg.InternalClientError as error:  # it was cut off in the middle of another word
            raise ConnectionResetError from error
        except asyncpg.InterfaceError as error:
            if self._connection.is_closed():
                raise ConnectionResetError from error
            raise
        self._midway = False


def _as_one(statement: BoundStatement) -> BoundStatement | None:
    """Return a statement with the values of all its rows; None: they are too many for that."""
    if not statement.rows:
        return statement
    sql = repeated(statement.sql, len(statement.rows))
    if sql is None or len(statement.rows) > ROWS_TOGETHER_MAX:
        return None
    return BoundStatement(sql, tuple(value for row in statement.rows for value in row))


class _Asked:
    """What a part waits for: whoever leads it is given the statements and sends the rows."""

    def __init__(self, statements: list[BoundStatement]) -> None:
        self._statements = statements

    def __await__(self) -> Generator[list[BoundStatement], list[list[Row]], list[list[Row]]]:
        return (yield self._statements)
