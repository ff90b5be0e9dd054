"""`tidings` as people run it: a process with arguments, an exit status and two streams."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import msgspec

from tests.harness.forking import ForkedProcess
from tests.harness.server import ENVIRONMENT, ROOT
from tests.harness.tiers import variables_of

COMMAND_SECONDS = 60


@dataclass(frozen=True)
class Ran:
    """A finished command."""

    status: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """The JSON lines that it printed."""
        return [msgspec.json.decode(line) for line in self.out.split("\n") if line]


def tidings(*arguments: str | Path, stdin: str = "", typed: str = "", **environment: str) -> Ran:
    """Run a command to its end; whatever happens, people see no traceback.

    It reads what is in `stdin`; or it is at a terminal, where this was `typed`.
    """
    read = _terminal(typed) if typed else _file(stdin)
    with read as asked, TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        done = ForkedProcess(
            ["-m", "tidings", *map(str, arguments)],
            ENVIRONMENT | _tiers(arguments) | environment,
            (asked, out.fileno(), err.fileno()),
        )
        status = done.wait(COMMAND_SECONDS)
        out.seek(0)
        err.seek(0)
        ran = Ran(status, out.read(), err.read())
    assert "Traceback" not in ran.err + ran.out, ran.err
    return ran


def start(*arguments: str | Path, **environment: str) -> "subprocess.Popen[str]":
    """Start a command whose output is read while it runs."""
    return subprocess.Popen(
        [sys.executable, "-m", "tidings", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=ENVIRONMENT | _tiers(arguments) | environment,
    )


def refused(ran: Ran, code: str) -> None:
    """Check that a command said no in one line."""
    assert (ran.status, ran.out) == (1, "")
    assert re.fullmatch(rf"tidings: [^\n]+[.?] \({code}\)\n", ran.err), ran.err


@contextmanager
def _file(text: str) -> Iterator[int]:
    with TemporaryFile("w+") as file:
        file.write(text)
        file.seek(0)
        yield file.fileno()


@contextmanager
def _terminal(typed: str) -> Iterator[int]:
    keyboard, terminal = pty.openpty()
    os.write(keyboard, typed.encode())
    try:
        yield terminal
    finally:
        os.close(terminal)
        os.close(keyboard)


def _tiers(arguments: tuple[str | Path, ...]) -> dict[str, str]:
    """Return what puts the data folder that is named on this session's tiers."""
    if "--data-dir" not in arguments:
        return {}
    return variables_of(Path(arguments[arguments.index("--data-dir") + 1]))
