"""Who brings what to the history, where gateways and workers are processes of their own."""

import asyncio
from pathlib import Path

import pytest

from tidings.app import build
from tidings.settings import load

BRINGS = {
    "gateway": {"latencies"},  # the sockets are here
    "worker": {"exporter"},
    "all": {"latencies", "exporter"},
}


@pytest.mark.parametrize("role", BRINGS)
def test_latencies_are_brought_by_who_has_clients_and_runs_by_who_works(
    tmp_path: Path, role: str
) -> None:
    async def scenario() -> None:
        chosen = {"role": role, "database_url": "postgresql://nobody@127.0.0.1:1/none"}
        app = build(load({"data_dir": tmp_path} | chosen, {}))
        try:
            parts = {part.name for part in app._parts.health()}
            assert parts & {"latencies", "exporter"} == BRINGS[role]
        finally:
            await app.close()

    asyncio.run(scenario())
