"""Processes of tests, forked from one that has everything imported: most of a start is that.

`python -m tests.harness.forking` is the one. It ends with the session that has started it, and
takes with it whatever was not stopped.
"""

import atexit
import gc
import importlib
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import msgspec

from tidings.analysis.sandbox.confine import die_with_parent

MODULES = (
    "anyio._backends._asyncio",  # which others import when they are first used, as the next
    "httpcore2",
    "tidings.cli.main",
    "tidings.scheduling.temporal",
    "tidings.storage.hot.valkey",
    "tidings.storage.warm.postgres.database",
)
REQUEST_BYTES_MAX = 128 * 1024
NUMBER_BYTES = 4
FILES_MAX = 1024


class Program(msgspec.Struct):
    """What a process is to be: the words behind `python`, and its whole environment."""

    words: Sequence[str]
    environment: Mapping[str, str]


class ForkedProcess:
    """A Python program as a child process, with its standard files; known by its id.

    It runs in the folder that its environment names in PYTHONPATH.
    """

    def __init__(
        self, words: Sequence[str], environment: Mapping[str, str], files: tuple[int, int, int]
    ) -> None:
        self._told, telling = socket.socketpair()
        self._status: int | None = None
        with telling:
            request = msgspec.json.encode(Program(words, environment))
            mother = _mother(environment["PYTHONPATH"])
            socket.send_fds(mother, [request], [telling.fileno(), *files])
        self.pid = self._number()

    def poll(self) -> int | None:
        """Return its status as `subprocess` has it, None while it runs."""
        try:
            return self.wait(0)
        except BlockingIOError:
            return None

    def wait(self, seconds: float) -> int:
        """Return its status when it has ended.

        Raises:
            TimeoutError: it runs for longer than that.
        """
        if self._status is None:
            self._told.settimeout(seconds)
            self._status = self._number()
            self._told.close()
        return self._status

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal; nothing if it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def _number(self) -> int:
        told = self._told.recv(NUMBER_BYTES)
        assert told, "the process that others are forked from has ended"
        return int.from_bytes(told, signed=True)


@cache
def _mother(folder: str) -> socket.socket:
    """Start the process that others are forked from; return where to ask it."""
    asking, asked = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", __name__]
    environment = os.environ | {"PYTHONPATH": folder}
    with asked:
        mother = subprocess.Popen(command, stdin=asked.fileno(), cwd=folder, env=environment)

    def end() -> None:
        asking.close()
        mother.wait()

    atexit.register(end)
    return asking


def main() -> None:
    """Import everything, fork what is asked for, be it, and end as it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in MODULES:
        importlib.import_module(name)
    gc.freeze()
    program = _born()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(program.environment)
    try:
        _run(*program.words)
    except SystemExit as ended:
        if isinstance(ended.code, str):
            raise
        _end(ended.code or 0)
    _end(0)


def _run(first: str, *rest: str) -> None:
    """Run what Python would run by these words."""
    if first == "-m":
        sys.argv = list(rest)
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [first, *rest]
        sys.path[0] = str(Path(first).parent)
        runpy.run_path(first, run_name="__main__")


def _end(status: int) -> None:
    """End as Python does, but leave the modules: to take them apart takes longer than the rest."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(status)


def _born() -> Program:
    """Fork for ever; return in each child, with what it is to be."""
    asked = socket.socket(fileno=sys.stdin.fileno())
    events = selectors.DefaultSelector()
    events.register(asked, selectors.EVENT_READ)
    while True:
        for key, _ in events.select():
            if key.data is not None:
                events.unregister(key.fd)
                _bury(key.fd, *key.data)
                continue
            request, files, _, _ = socket.recv_fds(asked, REQUEST_BYTES_MAX, 4)
            if not request:
                raise SystemExit
            telling, *standard = files
            pid = os.fork()
            if pid == 0:
                die_with_parent()
                events.close()
                asked.detach()
                for number, file in enumerate(standard):
                    os.dup2(file, number)
                os.closerange(len(standard), FILES_MAX)
                return msgspec.json.decode(request, type=Program)
            _tell(telling, pid)
            for file in standard:
                os.close(file)
            events.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, telling))


def _bury(process: int, pid: int, telling: int) -> None:
    """Tell the status of a child that has ended."""
    os.close(process)
    _, status = os.waitpid(pid, 0)
    _tell(telling, os.waitstatus_to_exitcode(status))
    os.close(telling)


def _tell(telling: int, number: int) -> None:
    os.write(telling, number.to_bytes(NUMBER_BYTES, signed=True))


if __name__ == "__main__":
    main()
