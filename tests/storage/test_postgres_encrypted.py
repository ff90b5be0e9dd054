"""PostgreSQL over TLS: believed only with the right certificate, and said to be so if not."""

import asyncio
from pathlib import Path

import pytest

from tests.harness.postgres import OWNER, postgres
from tests.harness.proxy import proxying
from tests.harness.tiers import database_of
from tests.harness.tls import Authority, encrypting_postgres
from tests.storage.test_postgres import begin_duty, look, opened
from tests.world import ANA
from tidings.domain.context import SERVER
from tidings.domain.errors import Unavailable

PASSWORD = "not-for-the-log"
UNTRUSTED = "The database's certificate is not trusted here, or is another address's."


def at(port: int, url: str, more: str = "") -> str:
    """Return the URL of a database, with a password, at the port of what encrypts before it."""
    name = url.rpartition("/")[2]
    return f"postgresql://{OWNER}:{PASSWORD}@127.0.0.1:{port}/{name}?{more}"


def test_units_of_work_go_over_an_encrypted_connection(tmp_path: Path) -> None:
    url, authority = database_of(tmp_path), Authority(tmp_path / "ours")
    ours = authority.sign("127.0.0.1")
    more = f"sslmode=verify-full&sslrootcert={authority.root}"
    known = f"{more}&sslcert={ours.certificate}&sslkey={ours.key}"

    async def scenario() -> None:
        async with encrypting_postgres(postgres().port, ours.context(authority)) as port:
            async with opened(at(port, url, known)) as database:
                await database.write(SERVER, begin_duty)
                assert await database.read(ANA, look) == [(0,)]
            async with opened(at(port, url, more)) as database:  # and no certificate of its own
                with pytest.raises(Unavailable) as refused:
                    await database.read(ANA, look)
                assert refused.value.code == "storage_unavailable"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("host", "signed_by", "told"),
    [
        ("127.0.0.1", "theirs", UNTRUSTED),
        ("elsewhere.example", "ours", UNTRUSTED),
        ("127.0.0.1", "nobody", "The database cannot be reached."),
    ],
)
def test_a_server_that_is_not_the_one_is_told_and_gets_no_password(
    tmp_path: Path, host: str, signed_by: str, told: str
) -> None:
    authorities = {name: Authority(tmp_path / name) for name in ("ours", "theirs")}
    url = database_of(tmp_path)
    more = f"sslmode=verify-full&sslrootcert={authorities['ours'].root}"

    async def refused(port: int) -> None:
        async with opened(at(port, url, more)) as database:
            with pytest.raises(Unavailable) as refused:
                await database.check()
            assert (refused.value.code, refused.value.message) == ("storage_unavailable", told)
            assert PASSWORD not in repr(refused.value)

    async def scenario() -> None:
        if signed_by == "nobody":  # the server itself, which here knows no encryption
            async with proxying(postgres().port) as proxy:
                await refused(proxy.port)
                assert proxy.up.carried == 8  # no more than the question
            return
        context = authorities[signed_by].sign(host).context()
        async with encrypting_postgres(postgres().port, context) as port:
            await refused(port)

    asyncio.run(scenario())
