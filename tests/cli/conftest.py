"""A server whose agents end in every way, and someone who asks them."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.harness.server import ROOT, ServerProcess, User, add_users, serving

ENDINGS = ROOT / "tests" / "harness" / "programs" / "endings.py"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serving(tmp_path_factory.mktemp("cli"), ENDINGS) as process:
        yield process


@pytest.fixture(scope="session")
def ana(server: ServerProcess) -> User:
    return asyncio.run(add_users(server, "ana"))[0]
