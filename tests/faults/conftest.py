"""One real server process for the scenarios that do not spoil it."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.harness.server import ServerProcess, User, add_users, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serving(tmp_path_factory.mktemp("faults")) as process:
        yield process


@pytest.fixture(scope="module")
def user(server: ServerProcess, request: pytest.FixtureRequest) -> User:
    name = request.module.__name__.rpartition(".")[2]
    return asyncio.run(add_users(server, name))[0]
