"""Servers: a real process that is not spoilt, and forked ones that may die."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import msgspec
import pytest

from tests.faults.devices import Device, device, is_alive
from tests.faults.mortal import Life
from tests.faults.served import served
from tests.harness.ports import free_port
from tests.harness.server import ENVIRONMENT, ROOT, ServerProcess, User, add_users, serving
from tests.harness.stored import stored_streams
from tests.harness.tiers import copy_store
from tests.invariants import LoggedStreams, check

Bear = Callable[[Life], int]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serving(tmp_path_factory.mktemp("faults")) as process:
        yield process


@pytest.fixture(scope="module")
def user(server: ServerProcess, request: pytest.FixtureRequest) -> User:
    name = request.module.__name__.rpartition(".")[2]
    return asyncio.run(add_users(server, name))[0]


@pytest.fixture(scope="module")
def mother() -> Iterator[subprocess.Popen[str]]:
    """Have the process run that lives are forked from."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.mortal"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=ENVIRONMENT,
        text=True,
    ) as process:
        yield process
        if process.stdin is not None:
            process.stdin.close()


@pytest.fixture
def bear(mother: subprocess.Popen[str]) -> Iterator[Bear]:
    """Return what starts a life and returns its process's id; no life is longer than the test."""
    children: list[int] = []

    def born(life: Life) -> int:
        assert mother.stdin is not None
        assert mother.stdout is not None
        mother.stdin.write(msgspec.json.encode(life).decode() + "\n")
        mother.stdin.flush()
        children.append(int(mother.stdout.readline()))
        return children[-1]

    yield born
    for child in filter(is_alive, children):
        os.kill(child, signal.SIGKILL)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """Return a store with a user in it: the folder, the user's id and a token."""
    folder = tmp_path_factory.mktemp("store")

    async def make() -> tuple[str, str]:
        async with served(folder) as server:
            return await server.user("ana")

    return folder, *asyncio.run(make())


class Mortal:
    """A store with a user; servers of it that may die live on one port, one after the other."""

    def __init__(self, folder: Path, ana: str, token: str, bear: Bear) -> None:
        self.folder = folder
        self._port = free_port()
        self._ana = ana
        self._token = token
        self._bear = bear

    def life(self, point: str = "", number: int = 1) -> Life:
        """Return a life that ends when a point is passed for the n-th time; "" is never."""
        return Life(str(self.folder), self._port, point, number)

    def bear(self, life: Life | None = None) -> int:
        """Begin a life; return its process's id."""
        return self._bear(life or self.life())

    def device(self, name: str = "d1") -> AbstractAsyncContextManager[Device]:
        return device(f"http://127.0.0.1:{self._port}", self._ana, self._token, name)

    def check(self, *devices: Device) -> LoggedStreams:
        """Check that everything has ended and every device has all of it; return what is stored."""
        log = stored_streams(self.folder)
        seen = [device.history for device in devices]
        check(log, seen, at_head=True, ended=True, proven=True)
        return log


@pytest.fixture
def mortal(tmp_path: Path, template: tuple[Path, str, str], bear: Bear) -> Mortal:
    """Return a copy of the template, for one test."""
    folder, user_id, token = template
    copy_store(folder, tmp_path / "data")
    return Mortal(tmp_path / "data", user_id, token, bear)
