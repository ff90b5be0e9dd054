"""Servers as child processes, each on a folder that goes with it."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar


class ChildServer(Protocol):
    """A server that may be started and killed, as often as a test likes."""

    def start(self) -> None: ...

    def kill(self) -> None: ...


S = TypeVar("S", bound=ChildServer)


@contextmanager
def running(made: Callable[[Path], S]) -> Iterator[S]:
    """Have a server run around the block."""
    with tempfile.TemporaryDirectory(prefix="tidings-", ignore_cleanup_errors=True) as folder:
        server = made(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.kill()
