"""A server for each file: to start it is the slow part, and a token is good for minutes."""

from collections.abc import Iterator

import pytest

from tests.gateway.world import World, running


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("server")) as world:
        yield world
