"""A tool server as a program of the operator's: lines of JSON to its stdin, and from its stdout.

The library's own way in reads lines of any length and passes on variables nobody named.
"""

import asyncio
import logging
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from tidings.domain.errors import Failure

MESSAGE_BYTES_MAX = 4 << 20
NONSENSE_LINES_MAX = 100
STOP_SECONDS = 2.0
LAST_WORDS_BYTES = 1_000

Streams = tuple[
    MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]
]

_LEASH = (sys.executable, "-I", "-S", str(Path(__file__).with_name("leash.py")))

_log = logging.getLogger(__name__)


class ConnectionEnd:
    """Whether and why a connection has ended; the first reason counts."""

    def __init__(self) -> None:
        self._ended = asyncio.Event()
        self.why = Failure("tool_server_lost", "The tool server has ended the connection.")

    def end(self, why: Failure | None = None) -> None:
        """End it."""
        if why is not None and not self._ended.is_set():
            self.why = why
        self._ended.set()

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._ended.is_set()

    async def wait(self) -> None:
        """Wait for the end."""
        await self._ended.wait()


@asynccontextmanager
async def program(
    command: Sequence[str],
    directory: str | None,
    environment: Mapping[str, str],
    ending: ConnectionEnd,
) -> AsyncIterator[Streams]:
    """Start a program and speak with it within the block; at its end nothing is left of it.

    It gets the named environment and nothing else, in a process group of its own, which is killed
    when this process dies in whatever way. `ending` is told when it ends, sends a line of more than
    MESSAGE_BYTES_MAX, or too many that are none.

    Raises:
        OSError: it cannot be started.
    """
    if not os.access(command[0], os.X_OK):
        raise FileNotFoundError(f"{command[0]} is no program")
    watched, held = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *_LEASH,
            str(watched),
            ",".join(environment),
            *command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=dict(environment),
            cwd=directory,
            start_new_session=True,
            pass_fds=(watched,),
            limit=MESSAGE_BYTES_MAX,
        )
    except BaseException:
        os.close(held)
        raise
    finally:
        os.close(watched)
    incoming, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
    try:
        async with incoming, read, write, outgoing, asyncio.TaskGroup() as tasks:
            pumps = [
                tasks.create_task(_read(process, incoming, ending)),
                tasks.create_task(_write(process, outgoing, ending)),
                tasks.create_task(_listen(process, command[0])),
            ]
            try:
                yield read, write
            finally:
                for pump in pumps:
                    pump.cancel()
    finally:
        await _stop(process, held)


async def _read(
    process: Process,
    incoming: MemoryObjectSendStream[SessionMessage | Exception],
    ending: ConnectionEnd,
) -> None:
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    nonsense = 0
    try:
        while nonsense < NONSENSE_LINES_MAX and (line := await process.stdout.readline()):
            try:
                message = jsonrpc_message_adapter.validate_json(line, by_name=False)
            except ValueError:
                nonsense += 1
            else:
                await incoming.send(SessionMessage(message))
        if nonsense >= NONSENSE_LINES_MAX:
            ending.end(Failure("tool_server_fault", "The tool server does not speak MCP."))
    except ValueError:
        ending.end(
            Failure("tool_result_too_large", "The tool found more than can be read; ask for less.")
        )
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        pass  # whoever listened is gone
    finally:
        ending.end()
        incoming.close()


async def _write(
    process: Process, outgoing: MemoryObjectReceiveStream[SessionMessage], ending: ConnectionEnd
) -> None:
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    try:
        async for sent in outgoing:
            line = sent.message.model_dump_json(by_alias=True, exclude_unset=True)
            process.stdin.write(line.encode() + b"\n")
            await process.stdin.drain()
    except OSError:
        ending.end()


async def _listen(process: Process, name: str) -> None:
    """Keep stderr flowing, and its last words for the log."""
    assert process.stderr is not None  # noqa: S101 - it is a pipe
    last = b""
    try:
        while piece := await process.stderr.read(4096):
            last = (last + piece)[-LAST_WORDS_BYTES:]
    finally:
        if last:
            _log.info("%s said on stderr: %r", name, last.decode(errors="replace"))


async def _stop(process: Process, held: int) -> None:
    """Let it go, and whatever it has started: at the end of its input, else by force."""
    try:
        if process.stdin is not None:
            process.stdin.close()
        await _gone(process)
    finally:
        os.close(held)
        await _gone(process)
        with suppress(ProcessLookupError):
            process.kill()


async def _gone(process: Process) -> None:
    """Wait STOP_SECONDS at most until it is gone; what it still says is dropped."""
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(STOP_SECONDS):
            for pipe in (process.stdout, process.stderr):
                while pipe is not None and await pipe.read(1 << 16):
                    pass
            await process.wait()
