"""What every server looks at before its first unit of work: the schema's version, and the walls."""

from tidings.domain.errors import Unusable
from tidings.storage.warm.migrations import scripts, too_new
from tidings.storage.warm.port import Transaction
from tidings.storage.warm.postgres import security
from tidings.storage.warm.postgres.security import ROLES, SERVER_ROLE, USER_ROLE, USER_SETTING

OLDEST_VERSION = 150_000
GRANT_OPTIONS_VERSION = 160_000
"""From here on each grant says whether its rights are inherited; before, each login does."""
ENCODING = "UTF8"
ENGINE = (
    "select current_setting('server_version_num')::int, current_setting('server_encoding'),"
    " current_setting('synchronous_commit')"
)
_TABLES = (
    "select c.relname::text, c.relrowsecurity and c.relforcerowsecurity,"
    " pg_get_userbyid(c.relowner)::text,"
    " array(select attname::text from pg_attribute"
    "  where attrelid = c.oid and attnum > 0 and not attisdropped),"
    " array(select concat_ws(' ', p.policyname, p.permissive, p.cmd, array_to_string(p.roles, ','),"
    "  case when p.qual like ? and p.with_check like ? then 'one' else 'all' end)"
    "  from pg_policies p where p.schemaname = current_schema() and p.tablename = c.relname"
    "  and p.qual is not null and p.with_check is not null),"
    " (select count(*) from pg_policies p"
    "  where p.schemaname = current_schema() and p.tablename = c.relname)"
    " from pg_class c where c.relnamespace = current_schema()::regnamespace"
    " and c.relkind in ('r', 'p') order by c.relname"
)


async def verify(tx: Transaction) -> None:
    """Refuse to work on a schema of another version, or one whose walls have a gap.

    Raises:
        Unusable: `store_outdated`, `store_too_new`, `store_unprotected`, `store_unfit`.
    """
    ((version, encoding, synced),) = await tx.execute(ENGINE)
    check_engine(version, encoding, synced)
    await _check_roles(tx, version)
    await _check_version(tx)
    tables = {}
    for table, forced, owner, columns, policies, count in await tx.execute(
        _TABLES, *[f"%{USER_SETTING}%"] * 2
    ):
        if owner in ROLES:
            raise unprotected(f"{owner} owns {table}")
        if not security.is_known(table, columns):
            raise unprotected(f"it is not decided whose the rows of {table} are")
        if not forced or set(policies) != security.policies(table) or count != len(policies):
            raise unprotected(f"the policies of {table} are not those of this version")
        tables[table] = columns
    await _check_darkness(tx, [table for table in tables if table not in security.SHARED])


def check_engine(version: int, encoding: str, synced: str) -> None:
    """Refuse a database that cannot keep what it should, by what ENGINE finds.

    Raises:
        Unusable: `store_unfit`.
    """
    if version < OLDEST_VERSION:
        raise _unfit("PostgreSQL 15 or newer is needed.")
    if encoding != ENCODING:
        raise _unfit(f"Its encoding is {encoding}; make it anew with encoding {ENCODING}.")
    if synced == "off":
        raise _unfit("synchronous_commit is off, and what was accepted could be lost.")


async def _check_roles(tx: Transaction, version: int) -> None:
    roles = await tx.execute(
        "select rolname::text, rolsuper or rolbypassrls from pg_roles"
        " where rolname in (session_user, ?, ?)",
        *ROLES,
    )
    for role, unbound in roles:
        if unbound:
            raise unprotected(f"{role} is a superuser or has BYPASSRLS")
    if not {role for role, _ in roles}.issuperset(ROLES):
        raise outdated()
    modern = version >= GRANT_OPTIONS_VERSION
    ((login,),) = await tx.execute("select quote_ident(session_user)")
    for role in ROLES:
        ((may, inherits),) = await tx.execute(
            "select pg_has_role(session_user, ?, ?), pg_has_role(session_user, ?, 'USAGE')",
            role,
            "SET" if modern else "MEMBER",
            role,
        )
        if not may:
            raise unprotected(f"the login may not take the role {role}")
        if inherits:
            raise heir(login, role, modern=modern)


async def _check_version(tx: Transaction) -> None:
    if await tx.execute("select 1 where to_regclass('tidings_schema') is null"):
        raise outdated()
    await tx.execute(f"set local role {SERVER_ROLE}")
    ((version,),) = await tx.execute("select version from tidings_schema")
    if version > len(scripts()):
        raise too_new()
    if version < len(scripts()):
        raise outdated()


async def _check_darkness(tx: Transaction, tables: list[str]) -> None:
    """See that whoever names no user sees nothing."""
    await tx.execute(f"set local role {USER_ROLE}")
    lit = await tx.execute(
        " union all ".join(
            f"select '{table}' where exists (select 1 from {table})"  # noqa: S608 - of the catalog
            for table in tables
        )
    )
    if lit:
        raise unprotected(f"rows of {lit[0][0]} are seen without a user")


def outdated() -> Unusable:
    """Return the refusal to work on a schema that is not there, or older than this version."""
    return Unusable(
        "store_outdated", "The database's schema is not of this version: run `tidings migrate`."
    )


def _unfit(why: str) -> Unusable:
    return Unusable("store_unfit", f"The database cannot keep what it should: {why}")


def heir(login: str, role: str, *, modern: bool) -> Unusable:
    """Return the refusal of a login that has a role's rights without taking it.

    `login` as SQL writes it.
    """
    mend = f"grant {role} to {login} with inherit false, set true"
    if not modern:
        mend = f"alter role {login} noinherit"
    return Unusable(
        "store_unprotected",
        f"The database does not keep users apart: the login inherits from {role}."
        f" As a superuser: {mend};",
    )


def unprotected(finding: str) -> Unusable:
    """Return the refusal to work where a user's rows are not walled off."""
    return Unusable(
        "store_unprotected",
        f"The database does not keep users apart: {finding}. Run `tidings migrate` as its owner;"
        " see docs/operations.md.",
    )
