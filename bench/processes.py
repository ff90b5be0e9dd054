"""A server in a process of its own, on a core of its own, and what it uses."""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tidings.settings import PREFIX

MODEL_SECONDS = "BENCH_MODEL_SECONDS"
"""The variable that says how long the model takes for a request."""
SETTINGS = {"TIDINGS_RUNS": "64", "TIDINGS_RUNS_PER_USER": "64", MODEL_SECONDS: "0"}
NOTHING_MORE: Mapping[str, str] = MappingProxyType({})
SERVER_CORE, LOAD_CORE = 0, 1
_TICKS = os.sysconf("SC_CLK_TCK")


class Running:
    """A server's process, and where it is."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.pid = pid

    def cpu_seconds(self) -> float:
        """Return the processor time the server has used, in all its threads."""
        return cpu_seconds(self.pid)

    def memory_mib(self) -> float:
        """Return its resident memory."""
        return memory_mib(self.pid)


class Served(Running):
    """The product's server; `ready` is what it said when it was."""

    def __init__(self, process: asyncio.subprocess.Process, ready: dict[str, Any]) -> None:
        super().__init__(ready["url"], process.pid)
        self.tokens: list[str] = ready["tokens"]
        self._process = process

    async def tell(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Give a command and return the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([command, arguments]).encode() + b"\n")
        return await _line(self._process)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()


@asynccontextmanager
async def served(
    what: str,
    folder: str | None = None,
    port: int = 0,
    settings: Mapping[str, str] = NOTHING_MORE,
    core: int | None = SERVER_CORE,
) -> AsyncIterator[Served]:
    """Run `bench.served` around the block, on a data directory of its own unless one is given.

    `settings` are variables besides SETTINGS; without a `core` it has all of them.
    """
    with ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(dir=".", prefix=".bench-")
        command = ("-m", "bench.served", what, folder or stack.enter_context(temporary), str(port))
        process = await asyncio.create_subprocess_exec(
            *on_core(core, sys.executable, *command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**24,
            env=_outside() | SETTINGS | dict(settings),
        )
        try:
            yield Served(process, await _line(process))
        finally:
            if process.returncode is None and process.stdin is not None:
                process.stdin.close()
            await process.wait()


def _outside() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}


def on_core(core: int | None, *command: str) -> tuple[str, ...]:
    """Return the command, bound to a core where the machine has more than one; None is all."""
    cores = f"0-{(os.cpu_count() or 1) - 1}" if core is None else str(core)
    return ("taskset", "-c", cores, *command) if os.cpu_count() != 1 else command


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has taken; of one that is gone, none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    fields = stat.rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def descendants(pid: int) -> list[int]:
    """Return the processes below this one; one that is gone meanwhile has none."""
    try:
        children = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [below for child in children for below in (child, *descendants(child))]


def memory_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if "VmRSS" in line) / 1024


async def _line(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    line = b""
    while not line.startswith(b"{"):  # the server's own line, that it is ready, says less
        line = await process.stdout.readline()
        if not line:
            raise RuntimeError("the server has gone")
    answer: dict[str, Any] = json.loads(line)
    return answer
