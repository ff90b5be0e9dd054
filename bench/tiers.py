"""The tiers on real servers: what a server does on each set, and how runs grow with workers."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, fields
from functools import partial
from itertools import cycle
from statistics import median

from bench import delivery, runs
from bench.asking import Conversation
from bench.processes import MODEL_SECONDS, Running, Served, cpu_seconds, descendants, served
from bench.tables import table
from tidings.settings import PREFIX, Settings

ROUNDS = 3
SECONDS = 2.0
STREAMS = 100
AT_ONCE = (16, 64)
WORKERS = (1, 2, 4)
RUNS_A_WORKER = 16
GROWTH_AT_ONCE = 64
MODEL_TAKES_SECONDS = (0.0, 0.2)
"""Without a wait the machine is the bound; with one, how many runs the workers take on."""

Variables = dict[str, str]
Started = Callable[[], AbstractContextManager[Variables]]
"""Has a server run around the block; gives the settings that name it."""


class Missing(Exception):
    """A tier cannot be had here, and why."""


@dataclass(frozen=True, slots=True)
class TierSet:
    """Servers that the product keeps its data in."""

    name: str
    servers: tuple[Started, ...]

    @contextmanager
    def started(self, **more: str) -> Iterator[Variables]:
        """Have them run around the block, empty; give the settings that name them, and more.

        Raises:
            Missing: one of them is not to be had, or the product does not know it.
        """
        known = {PREFIX + setting.name.upper() for setting in fields(Settings)}
        with ExitStack() as stack:
            settings: Variables = {}
            for start in self.servers:
                try:
                    settings |= stack.enter_context(start())
                except (ImportError, OSError, AssertionError) as error:
                    raise Missing(str(error).strip()[-300:]) from error
            settings |= more
            if unknown := settings.keys() - known:
                raise Missing(f"there is no setting {', '.join(sorted(unknown))}")
            yield settings


@contextmanager
def _postgres() -> Iterator[Variables]:
    """Have a PostgreSQL that syncs, unlike that of the tests."""
    from tests.harness.postgres import PostgresServer  # noqa: PLC0415 - perhaps not installed

    server = PostgresServer(fsync="on", full_page_writes="on", shared_buffers="256MB")
    try:
        yield {"TIDINGS_DATABASE_URL": server.database()}
    finally:
        server.close()


@contextmanager
def _valkey() -> Iterator[Variables]:
    from tests.harness.running import running  # noqa: PLC0415
    from tests.harness.valkey import ValkeyServer  # noqa: PLC0415 - perhaps not installed

    with running(ValkeyServer) as server:
        yield {"TIDINGS_HOT_URL": server.url}


@contextmanager
def _temporal() -> Iterator[Variables]:
    from tests.harness.running import running  # noqa: PLC0415
    from tests.harness.temporal import TemporalServer  # noqa: PLC0415 - perhaps not installed

    with running(TemporalServer) as server:
        yield {"TIDINGS_TEMPORAL_ADDRESS": server.address}


SETS = (
    TierSet("embedded", ()),
    TierSet("PostgreSQL", (_postgres,)),
    TierSet("PostgreSQL, Valkey", (_postgres, _valkey)),
    TierSet("PostgreSQL, Valkey, Temporal", (_postgres, _valkey, _temporal)),
)
GROWN = 2
"""From here on, sets on which several servers work."""


class ServerSide(Running):
    """A server, and with it what serves it: every process that this one has started."""

    def cpu_seconds(self) -> float:
        return sum(cpu_seconds(pid) for pid in descendants(os.getpid()))


Figures = dict[str, float]
"""What a table says of one thing, by the heads of its columns."""


async def report() -> str:
    """Measure the sets in turn, ROUNDS times, and the growth once; return the medians."""
    found: dict[str, list[Figures]] = {}
    missing: dict[str, str] = {}
    for _ in range(ROUNDS):
        for tier_set in SETS:
            try:
                with tier_set.started() as settings:
                    found.setdefault(tier_set.name, []).append(await _figures(settings))
            except Missing as error:
                missing[tier_set.name] = str(error)
    grown: dict[str, list[Figures]] = {}
    for tier_set in SETS[GROWN:]:
        try:
            for workers in WORKERS:
                name = f"{tier_set.name}: {workers} at work"
                grown[name] = [await _growth(tier_set, workers)]
        except Missing as error:
            missing[f"{tier_set.name}, with workers,"] = str(error)
    text = _table("One server on each set of tiers", found)
    text += "\n" + _table("A gateway, and workers beside it", grown) if grown else ""
    return text + "".join(f"\n{name} is not measured: {why}.\n" for name, why in missing.items())


def _table(title: str, found: dict[str, list[Figures]]) -> str:
    rows = [
        [name, *(median(each[figure] for each in several) for figure in several[0])]
        for name, several in found.items()
    ]
    return table(title, ["", *next(iter(found.values()))[0]], rows)


async def _growth(tier_set: TierSet, workers: int) -> Figures:
    """Return the runs a second of so many workers and one gateway, by how long the model takes."""
    figures: Figures = {}
    for seconds in MODEL_TAKES_SECONDS:
        with (
            tier_set.started(TIDINGS_ROLE="worker", TIDINGS_RUNS=str(RUNS_A_WORKER)) as settings,
            tempfile.TemporaryDirectory(dir=".", prefix=".bench-") as folder,
        ):
            settings |= {MODEL_SECONDS: str(seconds)}
            begin = partial(served, folder=folder, core=None)
            as_gateway = settings | {"TIDINGS_ROLE": "gateway"}
            async with AsyncExitStack() as stack:
                gateway = await stack.enter_async_context(begin("product", settings=as_gateway))
                for _ in range(workers):
                    await stack.enter_async_context(begin("worker", settings=settings))
                ran = await _run(gateway, GROWTH_AT_ONCE)
        figures[f"runs/s, model takes {seconds} s"] = ran.runs_per_second
        figures[f"run p50 ms, {seconds} s"] = ran.run_ms
        figures[f"failed, {seconds} s"] = ran.failed
    return figures


async def _run(server: Served, at_once: int) -> runs.Figures:
    tokens = cycle(server.tokens)
    side = ServerSide(server.url, server.pid)
    measured = await runs.measure(side, lambda name: Conversation(next(tokens), name), at_once)
    return measured.figures()


async def _figures(settings: Variables) -> Figures:
    """Return what one server does."""
    async with served("product", settings=settings) as server:
        figures = {
            "appended/s, 1 a transaction": await _appended(server, 1),
            "8 a transaction": await _appended(server, 8),
            "delivered/s, 8 a transaction": await _delivered(server, 8),
        }
        for at_once in AT_ONCE:
            ran = await _run(server, at_once)
            figures[f"runs/s, {at_once} at once"] = ran.runs_per_second
            figures[f"CPU ms a run, {at_once}"] = ran.cpu_ms
            figures[f"run p50 ms, {at_once}"] = ran.run_ms
            figures[f"failed, {at_once}"] = ran.failed
        return figures


async def _appended(server: Served, each: int) -> float:
    """Append to STREAMS streams at once, each when the one before is durable."""
    await server.tell("open", connections=STREAMS)
    done = await server.tell("produce", seconds=SECONDS, each=each)
    return done["appended"] / (time.monotonic() - done["begun"])


async def _delivered(server: Served, each: int) -> float:
    """Append, and count until everything has arrived at its reader."""
    streams = (await server.tell("open", connections=STREAMS))["streams"]
    async with delivery.readers(server, STREAMS, streams) as found:
        rate = await delivery.measure(server, found, each, SECONDS)
        return rate.per_second
