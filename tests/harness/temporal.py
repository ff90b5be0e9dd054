"""A real Temporal server on a real port: started, killed and started again as a test likes."""

import atexit
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path

from tests.harness.ports import free_port
from tests.harness.running import running

READY_SECONDS = 60
STARTS_MAX = 3
_RUNNING = "TIDINGS_TEST_TEMPORAL_AT"
"""Where the processes of the session, and the programs that they start, find it."""
SETTINGS = {
    "history.transferProcessorMaxPollRPS": "2000",  # else runs that follow each other wait 50 ms
    "history.timerProcessorMaxTimeShift": '"1ms"',  # else every timer is a second late
    "matching.enableFairness": "true",  # else the fairness key is ignored
    "matching.numTaskqueueReadPartitions": "1",  # fairness holds within a partition
    "matching.numTaskqueueWritePartitions": "1",
}


class TemporalAddress:
    """Where a server is; each test takes a task queue of its own there."""

    def __init__(self, address: str) -> None:
        self.address = address


class TemporalServer(TemporalAddress):
    """The server as a child process; what it has is in a file, so that it may die and come back."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        super().__init__(f"127.0.0.1:{self.port}")
        self._file = folder / "temporal.db"  # must not be there before: it makes its own schema
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it answers.

        It looks for more ports of its own, which another may have when it takes them.
        """
        assert any(self._started() for _ in range(STARTS_MAX)), "Temporal does not start"

    def _started(self) -> bool:
        binary = Path(sys.executable).with_name("temporal")
        command = [str(binary), "server", "start-dev", "--headless", "--ip", "127.0.0.1"]
        command += ["--port", str(self.port), "--log-level", "never"]
        command += ["--db-filename", str(self._file)]
        command += ["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=1"]
        for key, value in SETTINGS.items():
            command += ["--dynamic-config-value", f"{key}={value}"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        give_up = time.monotonic() + READY_SECONDS
        while not (self._listens() and self._serves(binary)):
            assert time.monotonic() < give_up, "Temporal does not answer"
            if self._process.poll() is not None:
                return False
            time.sleep(0.05)
        return True

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(READY_SECONDS)
            self._process = None

    def _serves(self, binary: Path) -> bool:
        """Ask: it listens before it is ready."""
        asked = [str(binary), "operator", "cluster", "health", "--address", self.address]
        return subprocess.run(asked, check=False, capture_output=True).returncode == 0

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


@cache
def temporal() -> TemporalAddress:
    """Return the server that all of a session share; it ends with the first who has asked."""
    if _RUNNING in os.environ:
        return TemporalAddress(os.environ[_RUNNING])
    session = ExitStack()
    atexit.register(session.close)
    server = session.enter_context(running(TemporalServer))
    os.environ[_RUNNING] = server.address
    return server
