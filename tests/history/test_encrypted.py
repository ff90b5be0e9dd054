"""ClickHouse over TLS: a server that is not the one is told nothing, and that is said."""

import asyncio
from pathlib import Path

import pytest

from tests.harness.clickhouse import PASSWORD, ClickHouseDouble
from tests.harness.proxy import proxying
from tests.harness.tls import Authority
from tidings.domain.errors import InvalidInput, Unavailable
from tidings.storage.cold.clickhouse import ClickHouseHistory


def behind(double: ClickHouseDouble, port: int, files: str) -> str:
    """Return the address of a database by way of what encrypts."""
    return double.url.replace("http:", "https:").replace(f":{double.port}/", f":{port}/") + files


def test_history_is_kept_over_an_encrypted_line(
    tmp_path: Path, clickhouse: ClickHouseDouble
) -> None:
    authority = Authority(tmp_path / "ours")
    ours = authority.sign("127.0.0.1")
    files = f"?ca_cert={authority.root}&client_cert={ours.certificate}&client_cert_key={ours.key}"

    async def scenario() -> None:
        async with proxying(clickhouse.port, encrypted=ours.context(authority)) as front:
            store = ClickHouseHistory(behind(clickhouse, front.port, files))
            try:
                assert (await store.check()).startswith("ClickHouse ")
            finally:
                await store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(("host", "signed_by"), [("127.0.0.1", "theirs"), ("a.example", "ours")])
def test_a_server_that_is_not_the_one_is_told_and_gets_no_password(
    tmp_path: Path, clickhouse: ClickHouseDouble, host: str, signed_by: str
) -> None:
    authorities = {name: Authority(tmp_path / name) for name in ("ours", "theirs")}
    files = f"?ca_cert={authorities['ours'].root}"

    async def scenario() -> None:
        context = authorities[signed_by].sign(host).context()
        async with proxying(clickhouse.port, encrypted=context) as front:
            store = ClickHouseHistory(behind(clickhouse, front.port, files))
            try:
                with pytest.raises(Unavailable, match="certificate is not trusted") as refused:
                    await store.check()
                assert (refused.value.code, front.up.carried) == ("cold_unavailable", 0)
                assert PASSWORD not in repr(refused.value)
            finally:
                await store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "url",
    [
        "https://me:se-cret@host:8443/x?ca_cert=/no/such/file",
        "https://me:se-cret@host:8443/x?verify=false",
        "http://me:se-cret@host:8123/x?ca_cert=/etc/hostname",
    ],
)
def test_what_would_not_be_checked_is_a_bad_setting(url: str) -> None:
    with pytest.raises(InvalidInput, match="TIDINGS_COLD_URL") as refused:
        ClickHouseHistory(url)
    assert refused.value.code == "bad_setting"
    assert "se-cret" not in repr(refused.value)
