"""The parent's end of one child process."""

import asyncio
import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from tidings.analysis.sandbox import frames

_COMMAND = (sys.executable, "-I", "-X", "utf8", "-m", "tidings.analysis.sandbox.worker")


_HOME = "sandbox-"


class ChildDied(Exception):
    """The child ended without an answer: killed by the kernel, or crashed on what it read."""


class Child:
    """A process with an empty environment in an empty folder, asked one thing at a time."""

    def __init__(self, process: asyncio.subprocess.Process, home: Path) -> None:
        self._process = process
        self.home = home

    @classmethod
    async def start(cls, root: Path) -> Self:
        """Start a child whose home is a new folder under `root`."""
        home = Path(tempfile.mkdtemp(prefix=f"{_HOME}{os.getpid()}-", dir=root))
        try:
            process = await asyncio.create_subprocess_exec(
                *_COMMAND,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                cwd=home,
                env={},
                start_new_session=True,
            )
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)
            raise
        return cls(process, home)

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    async def ask(self, request: frames.Request) -> frames.Reply:
        """Return the child's answer. A caller that stops waiting must kill the child.

        Raises:
            ChildDied: there will be none.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise ChildDied
        try:
            stdin.write(frames.pack(request))
            await stdin.drain()
            (size,) = frames.PREFIX.unpack(await stdout.readexactly(frames.PREFIX.size))
            if size > frames.FRAME_BYTES_MAX:
                raise ChildDied
            return frames.unpack_reply(await stdout.readexactly(size))
        except (OSError, asyncio.IncompleteReadError, msgspec.MsgspecError) as error:
            raise ChildDied from error

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        if self._process.returncode is None:
            self._process.kill()
        shutil.rmtree(self.home, ignore_errors=True)

    async def close(self) -> None:
        """End it and wait until nothing of it is left."""
        self.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._process.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def remove_orphans(root: Path) -> None:
    """Remove the homes that processes which are gone have left."""
    for home in root.glob(f"{_HOME}*"):
        try:
            os.kill(int(home.name.split("-")[1]), 0)
        except ProcessLookupError:
            shutil.rmtree(home, ignore_errors=True)
        except PermissionError:
            continue  # alive, and somebody else's
