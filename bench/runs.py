"""One message, one tool call, a streamed answer: runs a second, beside other agent servers."""

import asyncio
import json
import os
import platform
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

from bench.asking import Asker, Conversation, Failed
from bench.chart import runs_chart
from bench.peers.servers import PEERS, Absent, Peer, install, running
from bench.processes import Running, served
from bench.tables import percentile, table

ROUNDS = 3
SECONDS = 3.0
WARM_SECONDS = 0.7
CONCURRENCIES = (1, 16, 64)
CONNECTIONS_MIN = 16
OURS, OURS_KEEPS = "Tidings", "every step and event, before it is shown"
RESULTS = Path("bench/results")
"""The figures and the picture of the last run of this part."""

Row = dict[str, Any]
Opened = Callable[[str], Asker]
"""Makes an asker of this name, for a server that runs."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a server did with so many at once; times in ms."""

    runs_per_second: float
    cpu_ms: float
    first_ms: float
    run_ms: float
    slow_ms: float
    failed: int


class Measured:
    """The runs that ended while they were counted; times in ms."""

    def __init__(self, server: Running) -> None:
        self.failed = 0
        self.over = False
        self._server = server
        self._counting = False
        self._first: list[float] = []
        self._whole: list[float] = []
        self._began = self._cpu = 0.0

    def begin(self) -> None:
        """Count from here on."""
        self._counting = True
        self._began, self._cpu = time.monotonic(), self._server.cpu_seconds()

    def add(self, first_seconds: float, whole_seconds: float) -> None:
        """Hear that a run has ended."""
        if self._counting:
            self._first.append(first_seconds * 1000)
            self._whole.append(whole_seconds * 1000)

    def end(self) -> None:
        """Count no more."""
        self._counting, self.over = False, True
        self._took = time.monotonic() - self._began
        self._used = self._server.cpu_seconds() - self._cpu

    def figures(self) -> Figures:
        """Return what came of it."""
        runs = len(self._whole)
        return Figures(
            runs / self._took,
            self._used / max(1, runs) * 1000,
            percentile(self._first, 0.5),
            percentile(self._whole, 0.5),
            percentile(self._whole, 0.99),
            self.failed,
        )


async def report() -> str:
    """Measure all of them in turn, ROUNDS times; keep the medians; return the tables."""
    found: dict[tuple[str, int], list[Figures]] = {}
    absent: dict[str, str] = {}
    for peer in PEERS:
        try:
            await install(peer)
        except Absent as error:
            absent[peer.name] = str(error)
    for _ in range(ROUNDS):
        await _one_server(found, OURS, product())
        for peer in PEERS:
            if peer.name not in absent:
                try:
                    await _one_server(found, peer.name, _peer(peer))
                except Absent as error:
                    absent[peer.name] = str(error)
    keeps = {OURS: OURS_KEEPS} | {peer.name: peer.keeps for peer in PEERS}
    rows = [
        {"server": name, "keeps": keeps[name], "at_once": at_once} | _medians(several)
        for (name, at_once), several in sorted(found.items(), key=lambda item: item[0][1])
    ]
    _keep(rows, absent)
    return _tables(rows, absent)


async def _one_server(
    found: dict[tuple[str, int], list[Figures]],
    name: str,
    started: AbstractAsyncContextManager[tuple[Running, Opened]],
) -> None:
    """Measure one server at every concurrency."""
    async with started as (server, opened):
        for concurrency in CONCURRENCIES:
            measured = await measure(server, opened, concurrency)
            found.setdefault((name, concurrency), []).append(measured.figures())


@asynccontextmanager
async def product() -> AsyncIterator[tuple[Running, Opened]]:
    async with served("product") as server:
        tokens = cycle(server.tokens)
        yield server, lambda name: Conversation(next(tokens), name)


@asynccontextmanager
async def _peer(peer: Peer) -> AsyncIterator[tuple[Running, Opened]]:
    async with running(peer) as server:
        yield server, peer.asker


async def measure(server: Running, opened: Opened, concurrency: int) -> Measured:
    """Have so many ask at once for a while; connections take turns."""
    names = [f"{concurrency}x{n}" for n in range(max(CONNECTIONS_MIN, concurrency))]
    askers = [opened(name) for name in names]
    for asker in askers:
        await asker.open(server.url)
    measured = Measured(server)
    async with asyncio.TaskGroup() as tasks:
        for number in range(concurrency):
            tasks.create_task(_ask(askers[number::concurrency], measured))
        await asyncio.sleep(WARM_SECONDS)
        measured.begin()
        await asyncio.sleep(SECONDS)
        measured.end()
    for asker in askers:
        asker.close()
    return measured


async def _ask(askers: list[Asker], measured: Measured) -> None:
    """Ask one after the other until it is measured."""
    for asker in cycle(askers):
        if measured.over:
            return
        try:
            measured.add(*await asker.ask())
        except Failed:
            measured.failed += 1


def _medians(several: list[Figures]) -> dict[str, float]:
    each = [asdict(figures) for figures in several]
    middle = {key: median(figures[key] for figures in each) for key in each[0]}
    return middle | {"failed": sum(figures.failed for figures in several)}


def _keep(rows: list[Row], absent: dict[str, str]) -> None:
    """Write the figures and draw them."""
    RESULTS.mkdir(exist_ok=True)
    on = {"cores": os.cpu_count(), "python": platform.python_version(), "rounds": ROUNDS}
    kept = {"on": on, "rows": rows, "absent": absent}
    (RESULTS / "runs.json").write_text(json.dumps(kept, indent=1) + "\n")
    (RESULTS / "runs.svg").write_text(runs_chart(rows))


def _tables(rows: list[Row], absent: dict[str, str]) -> str:
    heads = ["", "on disk", "runs/s", "CPU ms a run", "first event p50, ms", "run p50, ms"]
    heads += ["run p99, ms", "failed"]
    text = ""
    for concurrency in CONCURRENCIES:
        chosen = [row for row in rows if row["at_once"] == concurrency]
        chosen.sort(key=lambda row: -row["runs_per_second"])
        title = f"One-tool runs, {concurrency} at once"
        text += table(title, heads, [_cells(row) for row in chosen]) + "\n"
    return text + "".join(f"{name} is not measured: {why}.\n" for name, why in absent.items())


def _cells(row: Row) -> list[object]:
    hidden = {"at_once"}
    return [value for key, value in row.items() if key not in hidden]
