"""What every test leaves as it was."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import temporal as shared
from tests.harness import tiers
from tests.harness.clickhouse import ClickHouseDouble
from tests.harness.running import running
from tests.harness.temporal import TemporalAddress
from tests.harness.valkey import ValkeyServer

# A shell starts what is in its background with Ctrl-C ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if tiers.TIERS != "embedded":
        about_files = [item for item in items if item.get_closest_marker("embedded")]
        config.hook.pytest_deselected(items=about_files)
        items[:] = [item for item in items if item not in about_files]


@pytest.fixture(scope="session")
def valkey_process() -> Iterator[ValkeyServer]:
    """One Valkey for all tests."""
    with running(ValkeyServer) as server:
        yield server


@pytest.fixture
def valkey(valkey_process: ValkeyServer) -> ValkeyServer:
    """A Valkey that runs and holds nothing."""
    valkey_process.calm()
    return valkey_process


@pytest.fixture(scope="session")
def temporal() -> TemporalAddress:
    """One Temporal for all tests; each takes a task queue of its own."""
    return shared.temporal()


@pytest.fixture(scope="session")
def clickhouse_process() -> Iterator[ClickHouseDouble]:
    """One ClickHouse engine for all tests."""
    with running(ClickHouseDouble) as server:
        yield server


@pytest.fixture
def clickhouse(clickhouse_process: ClickHouseDouble) -> ClickHouseDouble:
    """A ClickHouse that runs, with a database that nobody has used."""
    clickhouse_process.calm()
    return clickhouse_process


@pytest.fixture(autouse=True)
def _no_databases_left(tmp_path: Path) -> Iterator[None]:
    yield
    tiers.forget(tmp_path)
