"""The schema of the database, brought up to date by its owner."""

import asyncpg

from tidings.domain.errors import Unavailable
from tidings.storage.warm.migrations import scripts, too_new
from tidings.storage.warm.postgres import security
from tidings.storage.warm.postgres.connections import Connection, close, connect
from tidings.storage.warm.postgres.dialect import typed
from tidings.storage.warm.postgres.faults import as_unavailable
from tidings.storage.warm.postgres.security import ROLES
from tidings.storage.warm.postgres.verification import (
    ENGINE,
    GRANT_OPTIONS_VERSION,
    check_engine,
    heir,
    unprotected,
)

MIGRATION_LOCK_SECONDS = 10
_LOCK = 8_420_846_420
"""The advisory lock that lets one migration at a time go on."""


async def migrate(url: str) -> int:
    """Apply, as the owner, the scripts that the database has not seen, and wall its tables off.

    Returns how many were applied; all of it is one transaction.

    Raises:
        Unusable: `store_too_new`, `store_unprotected`, `store_unfit`.
        Unavailable: `store_not_owned`, `storage_busy`, `storage_unavailable`.
    """
    settings = {"statement_timeout": "0", "lock_timeout": f"{MIGRATION_LOCK_SECONDS}s"}
    connection = await connect(url, **settings, idle_in_transaction_session_timeout="0")
    try:
        with as_unavailable():
            async with connection.transaction():
                await connection.execute("select pg_advisory_xact_lock($1)", _LOCK)
                return await _migrate(connection)
    except asyncpg.InsufficientPrivilegeError as error:
        raise Unavailable(
            "store_not_owned", f"Migrate as the database's owner: {error}."
        ) from error
    finally:
        await close(connection)


async def _migrate(connection: Connection) -> int:
    version, encoding, synced = await connection.fetchrow(ENGINE)
    check_engine(version, encoding, synced)
    await _make_roles(connection, version)
    await connection.execute("create table if not exists tidings_schema (version bigint not null)")
    for table in await _tables(connection):
        await connection.execute(security.open_to_owner(table))
    version = await connection.fetchval("select max(version) from tidings_schema") or 0
    known = scripts()
    if version > len(known):
        raise too_new()
    for _, script in known[version:]:
        await connection.execute(typed(script))
    await connection.execute("delete from tidings_schema")
    await connection.execute("insert into tidings_schema values ($1)", len(known))
    for table, columns in (await _tables(connection)).items():
        if not security.is_known(table, columns):
            raise unprotected(f"it is not decided whose the rows of {table} are")
        await connection.execute(security.protect(table))
    return len(known) - version


async def _make_roles(connection: Connection, version: int) -> None:
    """Make the two roles that take units of work, and let the owner take them; no more than that.

    An owner who inherited from them would see every row without taking either.
    """
    modern = version >= GRANT_OPTIONS_VERSION
    if not modern:
        await _stop_inheriting(connection)
    privilege, options = ("SET", " with inherit false, set true") if modern else ("MEMBER", "")
    for role in ROLES:
        if not await connection.fetchval("select 1 from pg_roles where rolname = $1", role):
            await connection.execute(f"create role {role} nologin")
        if not await connection.fetchval("select pg_has_role($1, $2)", role, privilege):
            await connection.execute(f"grant {role} to current_user{options}")
        await connection.execute(f"grant usage on schema {await _schema(connection)} to {role}")


async def _stop_inheriting(connection: Connection) -> None:
    """Have the owner inherit from no role, where that is not said of each by itself.

    Who has rights by another role would lose them by it, and is asked to decide. The one role that
    nobody is asked about is `pg_database_owner`, to which the schema `public` belongs.

    Raises:
        Unusable: `store_unprotected`.
    """
    login, inherits, may = await connection.fetchrow(
        "select quote_ident(rolname), rolinherit, rolcreaterole and not exists"
        " (select 1 from pg_auth_members m join pg_roles r on r.oid = m.roleid"
        "  where m.member = o.oid and r.rolname <> all($1))"
        " from pg_roles o where rolname = current_user",
        ROLES,
    )
    if inherits and not may:
        raise heir(login, "the roles it has", modern=False)
    if inherits:
        await connection.execute(f"alter role {login} noinherit")
    schema = await _schema(connection)
    if not await connection.fetchval("select has_schema_privilege(current_schema(), 'CREATE')"):
        await connection.execute(
            "set local role pg_database_owner;"
            f"grant usage, create on schema {schema} to {login};"
            "reset role"
        )


async def _schema(connection: Connection) -> str:
    return str(await connection.fetchval("select quote_ident(current_schema())"))


async def _tables(connection: Connection) -> dict[str, list[str]]:
    """Return every table with its columns."""
    rows = await connection.fetch(
        "select c.relname, array(select attname::text from pg_attribute"
        "  where attrelid = c.oid and attnum > 0 and not attisdropped)"
        " from pg_class c where c.relnamespace = current_schema()::regnamespace"
        " and c.relkind in ('r', 'p') order by c.relname"
    )
    return dict(rows)
