"""A PostgreSQL that is not as it should be: told by a sentence, or borne, and taken back."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.postgres import OWNER, PostgresServer
from tests.storage.test_engines import test_values_come_back_as_they_went as values_come_back
from tests.storage.test_postgres import begin_duty, idle, look, opened
from tests.world import ANA, World
from tidings.domain.context import SERVER
from tidings.domain.errors import InvalidInput, Unavailable, Unusable
from tidings.domain.tiers import TierState
from tidings.storage.hot.memory import LocalHints
from tidings.storage.warm.port import Transaction
from tidings.storage.warm.postgres.schema import migrate
from tidings.storage.warm.spared import SparedDatabase
from tidings.system import SystemClock

PASSWORD = "not-for-the-log"
GUEST = "guest"
"""A login that is asked for its password."""


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgresServer]:
    server = PostgresServer()
    server.database()  # with it the roles are there
    server.sql(f"create role {GUEST} login noinherit password '{PASSWORD}'")
    granted = " with inherit false" if server.is_modern else ""
    server.sql(f"grant tidings_user, tidings_server to {GUEST}{granted}")
    server.ask_for_password(GUEST)
    yield server
    server.close()


@pytest.mark.parametrize(
    ("spoil", "mend", "code", "told"),
    [
        (
            f"alter role {GUEST} valid until '2001-01-01'",
            f"alter role {GUEST} valid until 'infinity'",
            "storage_unavailable",
            "refuses the server's login",
        ),
        (
            f"alter role {GUEST} password 'another'",
            f"alter role {GUEST} password '{PASSWORD}'",
            "storage_unavailable",
            "refuses the server's login",
        ),
        (
            f"alter role {GUEST} nologin",
            f"alter role {GUEST} login",
            "storage_unavailable",
            "refuses the server's login",
        ),
        (
            f"alter role {GUEST} connection limit 0",
            f"alter role {GUEST} connection limit -1",
            "storage_busy",
            "takes no more connections",
        ),
        (
            "alter database {} rename to elsewhere",
            "alter database elsewhere rename to {}",
            "storage_unavailable",
            "There is no such database",
        ),
        (
            "alter database {} with allow_connections false",
            "alter database {} with allow_connections true",
            "storage_unavailable",
            "cannot be used now",
        ),
        (
            "alter database {} set default_transaction_read_only = on",
            "alter database {} reset default_transaction_read_only",
            "",
            "",
        ),
    ],
)
def test_who_is_not_let_in_is_told_why_and_goes_on_when_it_is_mended(
    postgresql: PostgresServer, spoil: str, mend: str, code: str, told: str
) -> None:
    owners = postgresql.database()
    name = owners.rpartition("/")[2]
    url = owners.replace(f"//{OWNER}@", f"//{GUEST}:{PASSWORD}@")

    async def scenario() -> None:
        async with opened(url) as database:
            spared = SparedDatabase(database, SystemClock())
            postgresql.sql(spoil.format(name))
            if code:
                with pytest.raises(Unavailable, match=told) as refused:
                    await database.read(ANA, look)
                assert (type(refused.value), refused.value.code) == (Unavailable, code)
                health = await spared.health()
                assert (health.state, told in health.detail) == (TierState.DOWN, True)
                assert PASSWORD not in repr(refused.value) + repr(health)
                assert str(postgresql.port) not in repr(refused.value) + repr(health)
            else:
                with pytest.raises(Unavailable, match="only takes reads"):
                    await database.write(SERVER, begin_duty)
            postgresql.sql(mend.format(name))
            await opened_anew(url)
            assert (await spared.health()).state is TierState.OK

    try:
        asyncio.run(scenario())
    finally:
        postgresql.drop(owners)


async def opened_anew(url: str) -> None:
    async with opened(url) as database:
        await database.write(SERVER, begin_duty)


@pytest.mark.parametrize(
    ("raised", "code", "told"),
    [
        ("53100", "storage_full", "disk is full"),
        ("53200", "storage_busy", "busy"),
        ("53300", "storage_busy", "takes no more connections"),
        ("55P03", "storage_busy", "busy"),
        ("57P03", "storage_unavailable", "cannot be used now"),
        ("XX001", "store_damaged", "damaged"),
        ("XX002", "store_damaged", "damaged"),
    ],
)
def test_what_the_server_cannot_do_is_told_and_its_connection_is_good_for_the_next(
    postgresql: PostgresServer, raised: str, code: str, told: str
) -> None:
    """The server is real; what it lacks is only said, for a test cannot take it away."""
    url = postgresql.database()

    async def fails(tx: Transaction) -> None:
        await begin_duty(tx)
        await tx.execute(f"do $$ begin raise exception 'x' using errcode = '{raised}'; end $$")

    async def scenario() -> None:
        async with opened(url, connections=1) as database:
            with pytest.raises(Unavailable, match=told) as refused:
                await database.write(SERVER, fails)
            assert refused.value.code == code
            await database.write(SERVER, begin_duty)  # the same row: nothing was left of the first

    try:
        asyncio.run(scenario())
    finally:
        postgresql.drop(url)


def test_a_pooler_that_keeps_no_sessions_is_named(postgresql: PostgresServer) -> None:
    """To the next transaction the server is another one, which has prepared nothing."""
    url = postgresql.database()

    async def forgets(tx: Transaction) -> None:
        await tx.execute("deallocate all")

    async def scenario() -> None:
        async with opened(url, connections=1) as database:
            await database.read(ANA, look)
            await database.read(ANA, forgets)
            with pytest.raises(Unavailable, match="pooler") as refused:
                await database.read(ANA, look)
            assert refused.value.code == "storage_unavailable"

    try:
        asyncio.run(scenario())
    finally:
        postgresql.drop(url)


@pytest.mark.parametrize(
    ("making", "setting", "told"),
    [
        ("encoding 'LATIN1' locale 'C'", "", "encoding is LATIN1"),
        ("encoding 'SQL_ASCII' locale 'C'", "", "encoding is SQL_ASCII"),
        ("", "synchronous_commit = off", "could be lost"),
    ],
)
def test_a_database_that_cannot_keep_what_it_should_is_neither_migrated_nor_served(
    postgresql: PostgresServer, making: str, setting: str, told: str
) -> None:
    postgresql.sql(f"create database unfit template template0 owner {OWNER} {making}")
    if setting:
        postgresql.sql(f"alter database unfit set {setting}")
    url = postgresql.url("unfit")

    async def scenario() -> None:
        with pytest.raises(Unusable, match=told) as refused:
            await migrate(url)
        async with opened(url) as database:
            with pytest.raises(Unusable, match=told):
                await database.check()
        assert refused.value.code == "store_unfit"

    try:
        asyncio.run(scenario())
    finally:
        postgresql.drop(url)


ODD = (
    "timezone = 'Asia/Kathmandu'",
    "datestyle = 'German'",
    "intervalstyle = 'sql_standard'",
    "bytea_output = 'escape'",
    "standard_conforming_strings = off",
    "row_security = off",
    "client_encoding = 'LATIN1'",
    "extra_float_digits = -10",
    "default_transaction_isolation = 'serializable'",
    "idle_session_timeout = '300ms'",
    "statement_timeout = '1ms'",
)


def test_a_database_with_settings_of_its_own_serves_as_any_other(
    tmp_path: Path, postgresql: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgresql.database()
    for setting in ODD:
        postgresql.sql(f"alter database {url.rpartition('/')[2]} set {setting}")
    monkeypatch.setattr("tests.stores.database_of", lambda folder: url)

    async def scenario() -> None:
        async with opened(url) as database:
            w = World(database, LocalHints(), {"idle": idle})
            await w.begin()
            await asyncio.sleep(0.5)  # longer than a session may be idle there
            receipt = await w.ask("Grüße 😀 \\' ?", id="m1")
            again = await w.ask("Grüße 😀 \\' ?", id="m1")
            assert (again.run_id, again.duplicate) == (receipt.run_id, True)

    try:
        asyncio.run(scenario())
        values_come_back(tmp_path, "postgres")
    finally:
        postgresql.drop(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://me:not-for-the-log@host/x",
        "postgresql://me@host:not-for-the-log/x",
        "postgresql://me:not-for-the-log@127.0.0.1/x?sslmode=perhaps",
    ],
)
def test_an_address_that_is_none_is_a_bad_setting_and_not_said(url: str) -> None:
    async def scenario() -> None:
        async with opened(url) as database:
            with pytest.raises(InvalidInput, match="TIDINGS_DATABASE_URL") as refused:
                await database.check()
        assert refused.value.code == "bad_setting"
        assert refused.value.__suppress_context__
        assert PASSWORD not in repr(refused.value)

    asyncio.run(scenario())
