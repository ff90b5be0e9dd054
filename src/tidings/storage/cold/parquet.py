"""Embedded cold tier: Parquet files in the data directory, read by DuckDB in a child process.

The child is there while it is needed and some seconds longer: a server that nobody asks, and in
which nothing ends, pays nothing for its history.
"""

import asyncio
import logging
import sys
from pathlib import Path
from typing import TypeVar

import msgspec

from tidings.domain.context import Scope
from tidings.domain.errors import Failure
from tidings.storage.cold.pieces import pieces
from tidings.storage.cold.pipe import (
    PIPED_BYTES_MAX,
    PREFIX,
    AskFiles,
    EraseThreads,
    FilesAnswer,
    ForgetDays,
    JoinParts,
    KeepPart,
    Reply,
    Request,
    packed,
    replies,
)
from tidings.storage.cold.port import Days, Erasure, unavailable
from tidings.storage.cold.questions import NamedQuery, Questions, Value, asked
from tidings.storage.cold.records import TABLES, Batch, ColdTable
from tidings.storage.marks import make_folder

ANSWER_SECONDS = 10.0
WORK_SECONDS = 120.0
IDLE_SECONDS = 5.0

R = TypeVar("R")
_log = logging.getLogger(__name__)


class ParquetHistory(Questions):
    """A folder of Parquet files. It is kept by one server; others may read beside it."""

    engine = "duckdb"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._turn = asyncio.Lock()
        self._child: asyncio.subprocess.Process | None = None
        self._leaving: asyncio.subprocess.Process | None = None
        self._reaper: asyncio.TimerHandle | None = None

    async def insert(self, batch: Batch) -> None:
        for table in TABLES:
            for piece in pieces(batch.of(table), by_day=True):
                await self._do(KeepPart(table.name, piece.day, piece.name(table), piece.lines()))

    async def erase(self, erasures: list[Erasure]) -> None:
        await self._do(EraseThreads([(user_id, thread_id) for user_id, thread_id in erasures]))

    async def forget(self, before: str) -> None:
        await self._do(ForgetDays(before))

    async def tidy(self) -> None:
        await self._do(JoinParts())

    async def check(self) -> str:
        """Say that the folder is there; the engine is not started for that."""
        if not await asyncio.to_thread(self._folder.is_dir):
            return "nothing is kept yet"
        return "Parquet files"

    async def close(self) -> None:
        if self._reaper is not None:
            self._reaper.cancel()
        await self._dismiss()

    async def _ask(
        self, question: NamedQuery[R], scope: Scope, values: dict[str, Value], days: Days
    ) -> list[R]:
        if not await asyncio.to_thread(self._folder.is_dir):
            return []
        ask = asked(question, scope, values, days, _source, _parameter)
        rows = await self._do(AskFiles(ask.sql, ask.values, *days), ANSWER_SECONDS)
        return [msgspec.convert(row, question.row) for row in rows]

    async def _do(self, request: Request, seconds: float = WORK_SECONDS) -> list[list[object]]:
        """Have the child do something; it is ended when it takes too long."""
        try:
            async with asyncio.timeout(seconds), self._turn:
                return await self._in_turn(request)
        except TimeoutError as error:
            raise unavailable(f"no answer within {seconds:g} s") from error

    async def _in_turn(self, request: Request) -> list[list[object]]:
        if self._reaper is not None:
            self._reaper.cancel()
        try:
            if self._child is None or self._child.returncode is not None:
                self._child = await self._start()
            reply = await _exchange(self._child, request)
        except OSError as error:
            await self._dismiss()
            raise unavailable(error.strerror or "it cannot be started") from error
        except BaseException:
            await self._dismiss()
            raise
        self._reaper = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._end)
        if isinstance(reply, FilesAnswer):
            return reply.rows
        if reply.final:
            raise Failure("cold_refused", f"The history cannot take this: {reply.message}")
        _log.warning("the files of the history: %s", reply.message)
        raise unavailable("its files cannot be used")

    async def _start(self) -> asyncio.subprocess.Process:
        await asyncio.to_thread(make_folder, self._folder, 0o700)
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-X", "utf8", "-m", "tidings.storage.cold.parquet_child"),
            str(self._folder.resolve()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
            start_new_session=True,
        )

    def _end(self) -> None:
        """End the child, for it was idle."""
        if self._child is not None:
            _kill(self._child)
        self._leaving, self._child = self._child, None

    async def _dismiss(self) -> None:
        leaving, self._leaving, self._child = (self._leaving, self._child), None, None
        for child in leaving:
            if child is not None:
                _kill(child)
                await child.wait()


def _kill(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        child.kill()
    if child.stdin is not None:
        child.stdin.close()


async def _exchange(child: asyncio.subprocess.Process, request: Request) -> Reply:
    assert child.stdin is not None  # noqa: S101 - it was started with pipes
    assert child.stdout is not None  # noqa: S101
    try:
        child.stdin.write(packed(request))
        await child.stdin.drain()
        (size,) = PREFIX.unpack(await child.stdout.readexactly(PREFIX.size))
        if size > PIPED_BYTES_MAX:
            raise unavailable("its answer is too large")
        return replies.decode(await child.stdout.readexactly(size))
    except (OSError, asyncio.IncompleteReadError, msgspec.MsgspecError) as error:
        raise unavailable("the child that reads it has died") from error


def _source(table: ColdTable) -> str:
    """Leave it to the child, which knows the files."""
    return f"{{{table.name}}}"


def _parameter(name: str, _value: Value) -> str:
    return f"${name}::date" if name.endswith("_day") else f"${name}"
