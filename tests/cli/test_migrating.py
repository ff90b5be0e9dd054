"""`tidings migrate`: what stands between an empty PostgreSQL and a server on it."""

import asyncio
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.harness.cli import COMMAND_SECONDS, refused, start, tidings
from tests.harness.postgres import postgres
from tests.harness.proxy import proxying
from tests.harness.server import ENVIRONMENT
from tidings.storage.warm.migrations import scripts


def test_a_database_is_refused_until_it_is_migrated(tmp_path: Path) -> None:
    url = postgres().empty_database()
    settings = {"TIDINGS_DATABASE_URL": url, "TIDINGS_DATA_DIR": str(tmp_path)}
    refused(tidings("user", "list", **settings), "store_outdated")
    assert f"applied {len(scripts())} scripts" in tidings("migrate", **settings).out
    assert "applied 0 scripts" in tidings("migrate", **settings).out
    added = tidings(
        "user", "add", "ana", "--password-stdin", stdin="long enough, I hope\n", **settings
    )
    assert added.out == "added ana\n"
    assert tidings("user", "list", **settings).out == "ana\n"
    refused(tidings("backup", tmp_path / "backup", **settings), "store_elsewhere")
    postgres().drop(url)


@pytest.mark.parametrize(
    ("role", "spoil", "code"),
    [
        ("serve", "update tidings_schema set version = version - 1", "store_outdated"),
        ("gateway", "update tidings_schema set version = version + 1", "store_too_new"),
        ("worker", "alter table steps disable row level security", "store_unprotected"),
        (
            "serve",
            "insert into store (store_id, epoch, created_at, generation) values ('s', 'e', 0, -1)",
            "store_unfinished",
        ),
    ],
)
def test_a_server_ends_where_it_must_not_work(
    tmp_path: Path, role: str, spoil: str, code: str
) -> None:
    url = postgres().database()
    postgres().sql(spoil, url.rpartition("/")[2])
    refused(tidings(role, "--data-dir", tmp_path, "--port", "0", TIDINGS_DATABASE_URL=url), code)
    postgres().drop(url)


def test_a_server_waits_for_a_database_and_ends_when_it_must_not_work_there(tmp_path: Path) -> None:
    url = postgres().empty_database()

    async def scenario() -> None:
        async with proxying(postgres().port) as proxy:
            proxy.refusing = True
            behind = url.replace(f":{proxy.target}/", f":{proxy.port}/")
            serving = start(
                "serve", "--data-dir", tmp_path, "--port", "0", TIDINGS_DATABASE_URL=behind
            )
            assert serving.stdout is not None
            told = await asyncio.to_thread(serving.stdout.readline)
            async with httpx2.AsyncClient(trust_env=False) as http:
                answer = await http.get(f"{told.split()[1]}/readyz")
            assert (answer.status_code, serving.poll()) == (503, None)
            proxy.refusing = False
            _, said = await asyncio.to_thread(serving.communicate, timeout=COMMAND_SECONDS)
            assert (serving.returncode, "Traceback" in said) == (1, False), said
            assert said.endswith("(store_outdated)\n")

    asyncio.run(scenario())
    postgres().drop(url)


def test_a_store_of_files_is_always_up_to_date(tmp_path: Path) -> None:
    ran = tidings("migrate", "--data-dir", tmp_path)
    assert (ran.status, ran.out) == (0, "applied 0 scripts; the schema is up to date\n")


def test_a_server_on_embedded_defaults_loads_no_client_of_postgresql() -> None:
    program = "import sys, tidings.app, tidings.cli.main; print('asyncpg' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=ENVIRONMENT, check=True
    )
    assert done.stdout == "False\n"
