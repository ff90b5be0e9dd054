"""One server for the whole folder: starting it is the slow part."""

from collections.abc import Iterator

import pytest

from tests.gateway.world import World, running


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("server")) as world:
        yield world
