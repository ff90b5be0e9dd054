"""Servers that tests share: each is started once, and set right before every test that uses it."""

from collections.abc import Iterator

import pytest

from tests.harness.valkey import ValkeyServer, valkey_running


@pytest.fixture(scope="session")
def valkey_process() -> Iterator[ValkeyServer]:
    """One Valkey for all tests."""
    with valkey_running() as server:
        yield server


@pytest.fixture
def valkey(valkey_process: ValkeyServer) -> ValkeyServer:
    """A Valkey that runs and holds nothing."""
    valkey_process.calm()
    return valkey_process
