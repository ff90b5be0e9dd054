"""What the history costs those who do not use it: nothing."""

import asyncio
import subprocess
import sys
from pathlib import Path

from tests.harness.server import ENVIRONMENT
from tests.history.feeding import Feeding, feeding
from tests.history.keeping import ALWAYS
from tidings.domain.context import SERVER
from tidings.storage.cold.parquet import ParquetHistory

ENGINES = "{'duckdb', 'clickhouse_connect'}"


def test_a_server_on_embedded_defaults_loads_no_engine_of_the_history() -> None:
    program = f"import sys, tidings.app, tidings.cli.main; print({ENGINES} & set(sys.modules))"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=ENVIRONMENT
    )
    assert ran.stdout == "set()\n"


def test_questions_to_a_history_that_never_was_start_no_child(tmp_path: Path) -> None:
    async def whole() -> None:
        store = ParquetHistory(tmp_path / "cold")
        assert await store.usage(SERVER, ALWAYS) == []
        assert (store._child, (tmp_path / "cold").exists()) == (None, False)
        await store.close()

    asyncio.run(whole())


def test_an_exporter_with_nothing_to_do_starts_no_child(tmp_path: Path) -> None:
    async def scenario(at: Feeding) -> None:
        for _ in range(3):
            at.clock.time += 100_000
            await at.an_exporter("w1", keep_seconds=None).turn()
        assert at.cold._child is None

    feeding(tmp_path, scenario)
