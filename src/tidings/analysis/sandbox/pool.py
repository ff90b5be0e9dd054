"""The sandbox: a bounded pool of children, each serving one data set."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tidings.analysis.dataset import Dataset
from tidings.analysis.importing.report import ImportReport
from tidings.analysis.sandbox import frames
from tidings.analysis.sandbox.child import Child, ChildDied, remove_orphans
from tidings.domain.errors import (
    DeadlineExceeded,
    Failure,
    Forbidden,
    InvalidInput,
    LimitExceeded,
    TidingsError,
)

CHILDREN_MAX = 16
QUERIES_MAX = 4
IMPORTS_MAX = 2
IDLE_SECONDS = 60.0
QUERY_SECONDS = 20.0
IMPORT_SECONDS = 900.0
QUERY_ROWS_MAX = 5_000
QUERY_BYTES_MAX = 4 << 20
SQL_CHARS_MAX = 200_000

_ERRORS: dict[str, type[TidingsError]] = {
    "sql_forbidden": Forbidden,
    "sql_resource_limit": LimitExceeded,
    "import_resource_limit": LimitExceeded,
    "data_unreadable": Failure,
}


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What a child may use; some 0.8 GB of the address space are the engine's reservations.

    `children_max` live at once (some 70 MB each when idle), `queries_max` of them are busy. Runs
    that outnumber the children take them from each other, at 0.13 s a start.
    """

    memory_bytes: int = 1 << 30
    address_space_bytes: int = 3 << 30
    threads: int = 2
    children_max: int = CHILDREN_MAX
    queries_max: int = QUERIES_MAX
    idle_seconds: float = IDLE_SECONDS


@dataclass(slots=True)
class _Seat:
    """The place of a data set's child; the lock is held while it is asked."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    child: Child | None = None
    waiting: int = 0
    reaper: asyncio.TimerHandle | None = None


class Sandbox:
    """Runs hostile SQL over data sets, and reads hostile files, in children that can be killed.

    `root` is a folder of our own for the children's homes. Close it when done.
    """

    def __init__(self, root: Path, limits: SandboxLimits) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._root = root.resolve()  # children have a working directory of their own
        remove_orphans(self._root)
        self._limits = limits
        self._seats: OrderedDict[Dataset, _Seat] = OrderedDict()
        self._slots = asyncio.Semaphore(min(limits.queries_max, limits.children_max))
        self._imports = asyncio.Semaphore(IMPORTS_MAX)
        self._alive = 0

    async def query(
        self,
        dataset: Dataset,
        sql: str,
        parameters: Mapping[str, Any],
        *,
        deadline_seconds: float = QUERY_SECONDS,
        rows_max: int = QUERY_ROWS_MAX,
    ) -> frames.Rows:
        """Return the rows of one SELECT over the view `usage`, cut at `rows_max`.

        Raises:
            Forbidden: `sql_forbidden`, anything but one SELECT, or it reaches beyond the data.
            InvalidInput: `sql_invalid`, `table_not_found`.
            DeadlineExceeded: `sql_timeout`; its child was killed.
            LimitExceeded: `sql_resource_limit`, memory or CPU.
        """
        if len(sql) > SQL_CHARS_MAX:
            raise InvalidInput(
                "sql_invalid", f"The statement has over {SQL_CHARS_MAX:,} characters."
            )
        request = frames.Query(
            sql, dict(parameters), rows_max, QUERY_BYTES_MAX,
            cpu_seconds=int(deadline_seconds * self._limits.threads) + 1,
        )  # fmt: skip
        seat = self._sit(dataset)
        try:
            async with seat.lock, self._slots:
                reply = await self._ask(seat, dataset, request, deadline_seconds)
        finally:
            self._rise(dataset, seat)
        if isinstance(reply, frames.Rows):
            return reply
        raise _refusal(reply)

    async def load(
        self, source: Path, name: str, target: Path, *, expanded_bytes_max: int
    ) -> ImportReport:
        """Import the file into a new data set file at `target`; its folder serves as scratch space.

        Raises:
            InvalidInput: the file is not what it must be; the code says how.
            LimitExceeded: it is too large, or takes too long.
        """
        request = frames.Import(
            str(source), name, str(target), str(target.parent), expanded_bytes_max,
            self._limits.memory_bytes, self._limits.address_space_bytes, self._limits.threads,
        )  # fmt: skip
        try:
            async with self._imports, await Child.start(self._root) as child:
                async with asyncio.timeout(IMPORT_SECONDS):
                    reply = await child.ask(request)
        except TimeoutError as error:
            raise LimitExceeded(
                "import_timeout", "Reading the file took too long; split it and upload the parts."
            ) from error
        except ChildDied as error:
            raise InvalidInput(
                "file_unreadable", "The file could not be read: the reader gave up on its content."
            ) from error
        if isinstance(reply, frames.Imported):
            return reply.report
        raise _refusal(reply)

    async def capabilities(self) -> dict[str, bool]:
        """Return which measures of confinement are in force on this machine."""
        async with await Child.start(self._root) as child:
            with suppress(ChildDied):
                reply = await child.ask(self._open(()))
                if isinstance(reply, frames.Ready):
                    return reply.confinement
        return {"child_process": False}

    async def close(self) -> None:
        """End every child."""
        seats = list(self._seats.values())
        self._seats.clear()
        for seat in seats:
            if seat.reaper is not None:
                seat.reaper.cancel()
            if seat.child is not None:
                await seat.child.close()

    def _sit(self, dataset: Dataset) -> _Seat:
        seat = self._seats.setdefault(dataset, _Seat())
        self._seats.move_to_end(dataset)
        seat.waiting += 1
        if seat.reaper is not None:
            seat.reaper.cancel()
        return seat

    def _rise(self, dataset: Dataset, seat: _Seat) -> None:
        seat.waiting -= 1
        if seat.waiting == 0:
            loop = asyncio.get_running_loop()
            seat.reaper = loop.call_later(
                self._limits.idle_seconds if seat.child else 0, self._leave, dataset, seat
            )

    def _leave(self, dataset: Dataset, seat: _Seat) -> None:
        """End an idle child and forget its seat."""
        if seat.waiting == 0 and self._seats.get(dataset) is seat:
            del self._seats[dataset]
            if seat.child is not None:
                seat.child.kill()
                self._count_one_less()

    async def _ask(
        self, seat: _Seat, dataset: Dataset, request: frames.Query, deadline_seconds: float
    ) -> frames.Reply:
        try:
            async with asyncio.timeout(deadline_seconds):
                if seat.child is None:
                    seat.child = await self._start(dataset)
                return await seat.child.ask(request)
        except TimeoutError as error:
            await self._dismiss(seat)
            raise DeadlineExceeded(
                "sql_timeout", f"The query did not finish within {deadline_seconds:g} s."
            ) from error
        except ChildDied as error:
            await self._dismiss(seat)
            raise LimitExceeded(
                "sql_resource_limit", "The query used more memory or CPU than a query may use."
            ) from error
        except BaseException:
            await self._dismiss(seat)
            raise

    async def _dismiss(self, seat: _Seat) -> None:
        child, seat.child = seat.child, None
        if child is not None:
            self._count_one_less()
            await child.close()

    async def _start(self, dataset: Dataset) -> Child:
        async with AsyncExitStack() as undo:
            self._alive += 1
            undo.callback(self._count_one_less)
            await self._make_room()
            child = await undo.enter_async_context(await Child.start(self._root))
            names = tuple(f"f{number}.duckdb" for number in range(len(dataset.paths)))
            for name, path in zip(names, dataset.paths, strict=True):
                _link(child.home / name, path)
            try:
                reply = await child.ask(self._open(names))
            except ChildDied as error:
                raise Failure("data_unreadable", "The data set's file cannot be opened.") from error
            if not isinstance(reply, frames.Ready):
                raise _refusal(reply)
            undo.pop_all()
            return child

    def _count_one_less(self) -> None:
        self._alive -= 1

    async def _make_room(self) -> None:
        """End the children that were idle longest until no more live than may.

        The caller holds a slot, so fewer than `children_max` others are busy.
        """
        for seat in list(self._seats.values()):
            if self._alive <= self._limits.children_max:
                return
            if seat.child is not None and not seat.lock.locked():
                await self._dismiss(seat)

    def _open(self, names: tuple[str, ...]) -> frames.Open:
        limits = self._limits
        return frames.Open(names, limits.memory_bytes, limits.address_space_bytes, limits.threads)


def _refusal(reply: frames.Reply) -> TidingsError:
    if isinstance(reply, frames.Refused):
        return _ERRORS.get(reply.code, InvalidInput)(reply.code, reply.message)
    return Failure("sandbox_confused", "The sandbox gave an answer that was not asked for.")


def _link(name: Path, path: Path) -> None:
    """Give the file a name of its own, so that queries see nothing of where it lies."""
    try:
        name.hardlink_to(path)
    except OSError:  # another filesystem, or one without links
        name.symlink_to(path.resolve())
