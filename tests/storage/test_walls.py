"""The walls between users in PostgreSQL: over every table there is, whatever the SQL forgets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import pytest

from tests.harness.postgres import OWNER, postgres
from tests.harness.tiers import database_of
from tests.world import ANA, BOB
from tidings.domain.context import SERVER, Scope
from tidings.domain.errors import Unavailable
from tidings.storage.warm.migrations import scripts
from tidings.storage.warm.port import Row, Transaction
from tidings.storage.warm.postgres import security
from tidings.storage.warm.postgres.database import PostgresDatabase
from tidings.storage.warm.postgres.schema import migrate

COLUMNS = (
    "select table_name::text, column_name::text, data_type::text from information_schema.columns"
    " where table_schema = 'public' order by table_name, ordinal_position"
)
PARENTS_FIRST = ("users", "sessions", "streams", "runs", "webhooks")


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgresDatabase]:
    database = PostgresDatabase(url, lambda note: None, Random(1))
    try:
        yield database
    finally:
        await database.close()


def row_of(user: str, columns: dict[str, str]) -> dict[str, Any]:
    """Return a row whose texts and bytes all name its user; keys of parents fit by their names."""
    return {
        name: user
        if name == "user_id"
        else {"text": f"{user}-{name}", "bytea": f"{user}-{name}".encode()}.get(kind, 1)
        for name, kind in columns.items()
    }


async def tables(database: PostgresDatabase) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for table, column, kind in await database.read(SERVER, lambda tx: tx.execute(COLUMNS)):
        found.setdefault(table, {})[column] = kind
    children = sorted(found.keys() - set(PARENTS_FIRST))
    return {name: found[name] for name in (*PARENTS_FIRST, *children)}


async def insert(tx: Transaction, table: str, row: dict[str, Any]) -> None:
    names = ", ".join(f'"{name}"' for name in row)
    marks = ", ".join("?" * len(row))
    await tx.execute(f"insert into {table} ({names}) values ({marks})", *row.values())


async def execute(tx: Transaction, sql: str) -> list[Row]:
    return await tx.execute(sql)


@asynccontextmanager
async def filled(folder: Path) -> AsyncIterator[tuple[PostgresDatabase, dict[str, dict[str, str]]]]:
    """A database with a row of each of two users in each table that has any user's."""
    async with opened(database_of(folder)) as database:
        found = await tables(database)
        owned = {t: c for t, c in found.items() if t not in security.SHARED}

        async def fill(tx: Transaction) -> None:
            for user in (ANA, BOB):
                for table, columns in owned.items():
                    await insert(tx, table, row_of(user.user_id, columns))

        await database.write(SERVER, fill)
        yield database, owned


async def seen(database: PostgresDatabase, scope: Scope, table: str) -> list[Row]:
    return await database.read(scope, lambda tx: tx.execute(f"select * from {table}"))


def test_every_table_shows_a_user_their_own_rows_and_the_server_all(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with filled(tmp_path) as (database, owned):
            assert len(owned) > 20
            for table in owned:
                assert len(await seen(database, SERVER, table)) == 2, table
                (mine,) = await seen(database, ANA, table)
                assert "ana" in str(mine), table
                assert "bob" not in str(mine), table

    asyncio.run(scenario())


def test_nobody_changes_or_makes_a_foreign_row_in_any_table(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with filled(tmp_path) as (database, owned):
            for table, columns in owned.items():
                foreign = row_of(BOB.user_id, columns)
                column = next(iter(columns))
                same = f'update {table} set "{column}" = "{column}" returning 1'
                changed = await database.write(ANA, partial(execute, sql=same))
                assert len(changed) == 1, table
                with pytest.raises(asyncpg.PostgresError) as refused:
                    await database.write(ANA, partial(insert, table=table, row=foreign))
                wall = isinstance(refused.value, asyncpg.InsufficientPrivilegeError)
                assert wall or isinstance(refused.value, asyncpg.UniqueViolationError), table

            async def remove(tx: Transaction) -> None:
                for table in reversed(owned):
                    await tx.execute(f"delete from {table}")

            await database.write(ANA, remove)
            for table in owned:
                (left,) = await seen(database, SERVER, table)
                assert "bob" in str(left), table

    asyncio.run(scenario())


def test_a_new_row_in_a_foreign_name_is_stopped_by_the_wall_itself(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with filled(tmp_path) as (database, owned):
            for table, columns in owned.items():
                if "user_id" not in columns:
                    continue
                fresh = row_of("fresh", columns) | {"user_id": BOB.user_id}
                if table == "users":
                    fresh["user_id"] = "somebody"
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await database.write(ANA, partial(insert, table=table, row=fresh))

    asyncio.run(scenario())


def test_whoever_names_no_user_sees_nothing(tmp_path: Path) -> None:
    """Neither the user's role without a user, nor the owner, nor the next one on a connection."""

    async def scenario() -> None:
        async with filled(tmp_path) as (_, owned):
            connection = await asyncpg.connect(database_of(tmp_path))
            for table in owned:
                assert await connection.fetch(f"select * from {table}") == [], table
            async with connection.transaction():
                await connection.execute(f"set local role {security.USER_ROLE}")
                for table in owned:
                    assert await connection.fetch(f"select * from {table}") == [], table
            for end in ("commit", "rollback"):
                await connection.execute(
                    f"begin; set local role {security.USER_ROLE};"
                    f" set local {security.USER_SETTING} = 'bob'"
                )
                assert len(await connection.fetch("select * from threads")) == 1
                await connection.execute(end)
                await connection.execute(f"begin; set local role {security.USER_ROLE}")
                assert await connection.fetch("select * from threads") == []
                await connection.execute("rollback")
            await connection.close()

    asyncio.run(scenario())


def superuser(url: str) -> str:
    return url.replace(f"//{OWNER}@", "//postgres@")


@pytest.mark.parametrize(
    ("spoil", "code", "told"),
    [
        ("drop policy of_user on threads", "store_unprotected", "policies of threads"),
        ("create policy more on runs using (true)", "store_unprotected", "policies of runs"),
        ("alter table events no force row level security", "store_unprotected", "of events"),
        ("alter table steps disable row level security", "store_unprotected", "of steps"),
        ("create table extra (a text)", "store_unprotected", "rows of extra"),
        (
            "alter policy of_user on inbox using (true)",
            "store_unprotected",
            "policies of inbox",
        ),
        ("drop table tidings_schema", "store_outdated", "tidings migrate"),
        ("update tidings_schema set version = 3", "store_outdated", "tidings migrate"),
        ("update tidings_schema set version = 999", "store_too_new", "newer version"),
    ],
)
def test_a_server_refuses_a_database_with_a_gap(
    tmp_path: Path, spoil: str, code: str, told: str
) -> None:
    url = database_of(tmp_path)
    postgres().sql(spoil, url.rpartition("/")[2])

    async def scenario() -> None:
        async with opened(url) as database:
            with pytest.raises(Unavailable, match=told) as refused:
                await database.read(ANA, lambda tx: tx.execute("select 1"))
            assert refused.value.code == code

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (superuser, "superuser"),
        (lambda url: url.replace(f"//{OWNER}@", "//stranger@"), "may not take the role"),
        (lambda url: url.replace(f"//{OWNER}@", "//heir@"), "inherits"),
    ],
)
def test_a_server_refuses_a_login_that_is_no_wall_or_no_door(
    tmp_path: Path, change: Callable[[str], str], told: str
) -> None:
    server = postgres()
    if not server.sql("select 1 from pg_roles where rolname = 'heir'"):
        server.sql("create role stranger login")
        server.sql("create role heir login")
        server.sql(f"grant {', '.join(security.ROLES)} to heir")  # and as it is, it inherits

    async def scenario() -> None:
        async with opened(change(database_of(tmp_path))) as database:
            with pytest.raises(Unavailable, match=told) as refused:
                await database.check()
            assert refused.value.code == "store_unprotected"

    database_of(tmp_path)
    asyncio.run(scenario())


def test_an_owner_comes_to_inherit_from_neither_role_and_loses_no_other(tmp_path: Path) -> None:
    """Before PostgreSQL 16 a login inherits from all its roles or from none: it is asked."""
    server = postgres()
    url = server.empty_database()
    name = url.rpartition("/")[2]
    server.sql("create role landlord login createrole; create role guests")
    server.sql("grant guests to landlord")
    server.sql(f"alter database {name} owner to landlord")
    landlords = url.replace(f"//{OWNER}@", "//landlord@")
    if server.is_modern:
        server.sql(f"grant {', '.join(security.ROLES)} to landlord with inherit false")

    async def scenario() -> None:
        if not server.is_modern:
            with pytest.raises(Unavailable, match="alter role landlord noinherit;") as refused:
                await migrate(landlords)
            assert refused.value.code == "store_unprotected"
            server.sql("alter role landlord noinherit")
        assert await migrate(landlords) == len(scripts())
        async with opened(landlords) as database:
            await database.check()

    database_of(tmp_path)  # with it the roles are there
    try:
        asyncio.run(scenario())
    finally:
        server.drop(url)
        server.sql("drop role landlord; drop role guests")


def test_two_migrations_at_once_are_one_and_mend_what_was_spoilt(tmp_path: Path) -> None:
    server = postgres()
    url = server.empty_database()

    async def scenario() -> None:
        done = await asyncio.gather(*(migrate(url) for _ in range(3)))
        assert sorted(done) == [0, 0, len(scripts())]
        server.sql("drop policy of_user on threads", url.rpartition("/")[2])
        assert await migrate(url) == 0
        async with opened(url) as database:
            assert await database.read(SERVER, lambda tx: tx.execute("select 1 from store")) == []

    try:
        asyncio.run(scenario())
    finally:
        server.drop(url)
