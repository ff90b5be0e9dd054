"""`tidings migrate`: what stands between an empty PostgreSQL and a server on it."""

import subprocess
import sys
from pathlib import Path

from tests.harness.cli import tidings
from tests.harness.postgres import postgres
from tests.harness.server import ENVIRONMENT
from tidings.storage.warm.migrations import scripts


def test_a_database_is_refused_until_it_is_migrated(tmp_path: Path) -> None:
    url = postgres().empty_database()
    settings = {"TIDINGS_DATABASE_URL": url, "TIDINGS_DATA_DIR": str(tmp_path)}
    refused = tidings("user", "list", **settings)
    assert (refused.status, "store_outdated" in refused.err) == (1, True)
    assert f"applied {len(scripts())} scripts" in tidings("migrate", **settings).out
    assert "applied 0 scripts" in tidings("migrate", **settings).out
    added = tidings(
        "user", "add", "ana", "--password-stdin", stdin="long enough, I hope\n", **settings
    )
    assert added.out == "added ana\n"
    assert tidings("user", "list", **settings).out == "ana\n"
    elsewhere = tidings("backup", tmp_path / "backup", **settings)
    assert (elsewhere.status, "store_elsewhere" in elsewhere.err) == (1, True)
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
