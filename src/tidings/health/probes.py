"""Probes: is each thing that the server stands on there and willing?"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from tidings.domain.context import SERVER
from tidings.domain.errors import TidingsError, Unavailable
from tidings.domain.ports import Clock
from tidings.storage.warm.port import Database, Transaction

PROBE_SECONDS = 2.0
FINDINGS_KEPT_SECONDS = 1.0
FREE_BYTES_MIN = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Probe:
    """Something to check; `check` returns a word on how it is, or raises what is wrong."""

    name: str
    check: Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a probe found; `detail` is for the operator alone."""

    name: str
    ok: bool
    detail: str


class Readiness:
    """Whether this server should be sent work."""

    def __init__(self, probes: tuple[Probe, ...], clock: Clock) -> None:
        self._probes = probes
        self._clock = clock
        self._draining = False
        self._checking = asyncio.Lock()
        self._found: tuple[ProbeResult, ...] = ()
        self._found_at = float("-inf")

    @property
    def draining(self) -> bool:
        """Whether the server is about to stop."""
        return self._draining

    @property
    def found(self) -> tuple[ProbeResult, ...]:
        """What the probes have found when they were asked last; nothing before that."""
        return self._found

    def drain(self) -> None:
        """Be not ready from now on: the server is about to stop."""
        self._draining = True

    async def ready(self) -> bool:
        """Tell whether every probe is well, and no stop was asked for."""
        return not self._draining and all(finding.ok for finding in await self.findings())

    async def findings(self) -> tuple[ProbeResult, ...]:
        """Return what the probes find; asked often, the last answer stands for a second."""
        async with self._checking:
            if self._clock.monotonic() - self._found_at >= FINDINGS_KEPT_SECONDS:
                self._found = await _all(self._probes)
                self._found_at = self._clock.monotonic()
            return self._found


def database_probe(database: Database) -> Probe:
    """Return a probe that reads the store and commits a write that changes nothing."""

    async def work(tx: Transaction) -> None:
        await tx.execute("select epoch from store")
        await tx.execute("update store set epoch = epoch")

    async def check() -> str:
        await database.write(SERVER, work)
        return "readable and writable"

    return Probe("database", check)


def disk_probe(folder: Path, free_bytes_min: int = FREE_BYTES_MIN) -> Probe:
    """Return a probe that wants so much space free where the data are."""

    async def check() -> str:
        free = shutil.disk_usage(folder).free
        if free < free_bytes_min:
            needed = f"{_mebibytes(free_bytes_min)} needed"
            raise Unavailable("storage_full", f"{_mebibytes(free)} free, {needed}.")
        return f"{_mebibytes(free)} free"

    return Probe("disk", check)


async def _all(probes: tuple[Probe, ...]) -> tuple[ProbeResult, ...]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_one(probe)) for probe in probes]
    return tuple(task.result() for task in tasks)


async def _one(probe: Probe) -> ProbeResult:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            return ProbeResult(probe.name, ok=True, detail=await probe.check())
    except TimeoutError:
        return ProbeResult(probe.name, ok=False, detail=f"no answer in {PROBE_SECONDS} s")
    except TidingsError as error:
        return ProbeResult(probe.name, ok=False, detail=error.message)
    except OSError as error:
        return ProbeResult(probe.name, ok=False, detail=str(error))


def _mebibytes(count: int) -> str:
    return f"{count >> 20:,} MiB"
