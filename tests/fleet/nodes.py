"""Nodes of one fleet: processes in their roles, on one database and one folder."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.harness.postgres import postgres
from tests.harness.programs.paying import TARGET
from tests.harness.server import ROOT, ServerProcess
from tests.invariants import LoggedEvent, LoggedStreams
from tidings.app import build
from tidings.domain.context import SERVER
from tidings.settings import load
from tidings.storage.warm.port import Transaction
from tidings.storage.warm.postgres.database import PostgresDatabase
from tidings.system import UlidSource

PROGRAM = ROOT / "tests/harness/programs/paying.py"


@dataclass(slots=True)
class Fleet:
    """Gateways and workers, what they share, and what they are told of the rest."""

    folder: Path
    database_url: str
    extra: dict[str, str]
    gateways: list[ServerProcess]
    workers: list[ServerProcess]

    @property
    def nodes(self) -> list[ServerProcess]:
        return self.gateways + self.workers

    @property
    def payments(self) -> list[tuple[int, str]]:
        """What the target has counted: the process that paid, and the key of the payment."""
        target = self.folder / "target"
        lines = target.read_text().splitlines() if target.exists() else []
        return [(int(line.split()[0]), line.split()[1]) for line in lines]

    def check_payments(self) -> None:
        """See that nothing was paid twice."""
        counted = Counter(key for _, key in self.payments)
        assert counted, "nothing was paid"
        assert set(counted.values()) == {1}

    def payer(self) -> ServerProcess:
        """Return the worker that has paid last."""
        pid = self.payments[-1][0]
        return next(worker for worker in self.workers if worker.pid == pid)

    async def user(self, name: str) -> tuple[str, str]:
        """Make an account; return its id and a token."""
        settings = {"data_dir": self.folder, "database_url": self.database_url}
        app = build(load(settings, {}))
        try:
            made = await app.identity.add_user(name, f"the password of {name}")
            return made.user_id, await app.identity.issue_token(name)
        finally:
            await app.close()

    async def stored(self, lost: frozenset[bytes] = frozenset()) -> LoggedStreams:
        """Read what the database holds, as the checker takes it."""
        return await stored_streams(self.database_url, lost)


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
    shared = Fleet(folder, url or postgres().database(), extra, [], [])
    shared.gateways = [_node(shared, "gateway") for _ in range(gateways)]
    shared.workers = [_node(shared, "worker") for _ in range(workers)]
    try:
        with ThreadPoolExecutor() as starting:
            list(starting.map(ServerProcess.start, shared.nodes))
        yield shared
    finally:
        for node in shared.nodes:
            if node.is_running():
                os.kill(node.pid, signal.SIGCONT)
                node.kill()
        if not url:
            postgres().drop(shared.database_url)


def _node(shared: Fleet, role: str) -> ServerProcess:
    node = ServerProcess(shared.folder, PROGRAM)
    node.extra = {
        "TIDINGS_ROLE": role,
        "TIDINGS_DATABASE_URL": shared.database_url,
        "TIDINGS_DATABASE_CONNECTIONS": "8",
        TARGET: str(shared.folder / "target"),
        **shared.extra,
    }
    return node


async def stored_streams(url: str, lost: frozenset[bytes] = frozenset()) -> LoggedStreams:
    """Read all streams of a database."""

    async def work(tx: Transaction) -> LoggedStreams:
        streams = await tx.execute("select stream, user_id, first_offset from streams")
        frames = await tx.execute(
            "select frame from events e join streams s on s.stream = e.stream"
            ' where length(frame) > 0 and "offset" >= s.first_offset'
        )
        return LoggedStreams(
            events=[LoggedEvent(bytes(frame)) for (frame,) in frames],
            owners={stream: user for stream, user, _ in streams},
            firsts={stream: first for stream, _, first in streams},
            lost=lost,
        )

    database = PostgresDatabase(url, lambda note: None, Random(1))
    try:
        return await database.read(SERVER, work)
    finally:
        await database.close()


def new_queue() -> str:
    """Return the name of a task queue that nobody else uses."""
    return UlidSource().new("fleet")
