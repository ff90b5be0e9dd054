"""Nodes of one fleet whose agents pay: processes in their roles, on one database and one folder."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.postgres import postgres
from tests.harness.programs.paying import TARGET
from tests.harness.server import ROOT, FleetProcess, ServerProcess, add_users
from tests.harness.stored import stored_streams
from tests.invariants import LoggedStreams
from tidings.system import SystemClock, UlidSource

PROGRAM = ROOT / "tests/harness/programs/paying.py"


class Fleet(FleetProcess):
    """Gateways and workers on a database of their own, and the target at which they pay."""

    @property
    def database_url(self) -> str:
        return self.extra["TIDINGS_DATABASE_URL"]

    @property
    def payments(self) -> list[tuple[int, str]]:
        """What the target has counted: the process that paid, and the key of the payment."""
        return payments_in(self.data_dir)

    def check_payments(self) -> None:
        """See that nothing was paid twice."""
        check_payments(self.data_dir)

    def payer(self) -> ServerProcess:
        """Return the worker that has paid last."""
        pid = self.payments[-1][0]
        return next(worker for worker in self.workers if worker.pid == pid)

    async def user(self, name: str) -> tuple[str, str]:
        """Make an account; return its id and a token."""
        [user] = await add_users(self, name)
        return user.id, user.token

    def stored(self, lost: frozenset[bytes] = frozenset()) -> LoggedStreams:
        """Read what the database holds, as the checker takes it."""
        return stored_streams(self.database_url, lost)


@contextmanager
def fleet(
    folder: Path,
    extra: dict[str, str],
    *,
    gateways: int = 2,
    workers: int = 2,
    url: str = "",
) -> Iterator[Fleet]:
    """Have nodes run around the block; `extra` are their variables besides."""
    nodes = Fleet(folder, PROGRAM, gateways, workers)
    nodes.extra = {
        "TIDINGS_DATABASE_URL": url or postgres().database(),
        "TIDINGS_DATABASE_CONNECTIONS": "8",
        TARGET: str(target_in(folder)),
        **extra,
    }
    try:
        nodes.start()
        yield nodes
    finally:
        for node in nodes.nodes:
            if node.is_running():
                os.kill(node.pid, signal.SIGCONT)
                node.kill()
        nodes.close()
        if not url:
            postgres().drop(nodes.database_url)


def target_in(folder: Path) -> Path:
    """Return the file at which the nodes of a folder pay."""
    return folder / "target"


def payments_in(folder: Path) -> list[tuple[int, str]]:
    """Return what a target has counted: the process that paid, and the key of the payment."""
    target = target_in(folder)
    lines = target.read_text().splitlines() if target.exists() else []
    return [(int(line.split()[0]), line.split()[1]) for line in lines]


def check_payments(folder: Path) -> None:
    """See that nothing was paid twice."""
    counted = Counter(key for _, key in payments_in(folder))
    assert counted, "nothing was paid"
    assert set(counted.values()) == {1}


def new_queue() -> str:
    """Return the name of a task queue that nobody else uses."""
    return UlidSource(SystemClock()).new("fleet")
