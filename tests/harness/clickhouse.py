"""A double of a ClickHouse server, with the real engine: see `programs/clickhouse_front.py`."""

import subprocess
import sys
from itertools import count
from pathlib import Path

from tests.harness.ports import free_port
from tests.harness.server import ENVIRONMENT, ROOT

PASSWORD = "p/w:d"
FRONT = ROOT / "tests" / "harness" / "programs" / "clickhouse_front.py"
WAIT_SECONDS = 60


class ClickHouseDouble:
    """The engine as a child process on a folder; it may be killed and started again on it.

    `url` names a database of the test's own.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._numbers = count(1)
        self._database = "none"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return (
            f"http://tidings:{PASSWORD.replace('/', '%2F')}@127.0.0.1:{self.port}/{self._database}"
        )

    def start(self) -> None:
        """Start it and return when it answers; when it runs, do nothing."""
        if self._process is not None:
            return
        command = [sys.executable, str(FRONT), str(self._folder), str(self.port), PASSWORD]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        """kill -9: what it has not written to its folder is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(WAIT_SECONDS)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def calm(self) -> None:
        """Run, with an empty database: what every test begins with."""
        self._database = f"test{next(self._numbers)}"
        self.start()
