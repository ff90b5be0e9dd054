"""The tiers on real servers: what a server does on each set of them."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, fields
from itertools import cycle
from statistics import median

from bench import delivery, runs
from bench.asking import Conversation
from bench.processes import Running, Served, cpu_seconds, descendants, served
from bench.tables import table
from tidings.settings import PREFIX, Settings

ROUNDS = 3
SECONDS = 2.0
STREAMS = 100
AT_ONCE = (16, 64)

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
    def started(self) -> Iterator[Variables]:
        """Have them run around the block, empty.

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
    from tests.harness.valkey import valkey_running  # noqa: PLC0415 - perhaps not installed

    with valkey_running() as server:
        yield {"TIDINGS_HOT_URL": server.url}


@contextmanager
def _temporal() -> Iterator[Variables]:
    from tests.harness.temporal import temporal_running  # noqa: PLC0415 - perhaps not installed

    with temporal_running() as server:
        yield {"TIDINGS_TEMPORAL_ADDRESS": server.address}


SETS = (
    TierSet("embedded", ()),
    TierSet("PostgreSQL", (_postgres,)),
    TierSet("PostgreSQL, Valkey", (_postgres, _valkey)),
    TierSet("PostgreSQL, Valkey, Temporal", (_postgres, _valkey, _temporal)),
)


class ServerSide(Running):
    """A server, and with it what serves it: every process that this one has started."""

    def cpu_seconds(self) -> float:
        return sum(cpu_seconds(pid) for pid in descendants(os.getpid()))


async def report() -> str:
    """Measure the sets in turn, ROUNDS times; return the medians."""
    found: dict[str, list[dict[str, float]]] = {}
    missing: dict[str, str] = {}
    for _ in range(ROUNDS):
        for tier_set in SETS:
            if tier_set.name not in missing:
                try:
                    figures = await _figures(tier_set)
                except Missing as error:
                    missing[tier_set.name] = str(error)
                else:
                    found.setdefault(tier_set.name, []).append(figures)
    rows = [
        [name, *(median(each[figure] for each in several) for figure in several[0])]
        for name, several in found.items()
    ]
    heads = ["", *next(iter(found.values()))[0]]
    text = table("One server on each set of tiers", heads, rows)
    return text + "".join(f"\n{name} is not measured: {why}.\n" for name, why in missing.items())


async def _figures(tier_set: TierSet) -> dict[str, float]:
    """Return what one server does, by what it is called in the table."""
    with tier_set.started() as settings:
        async with served("product", settings=settings) as server:
            figures = {
                "appended/s, 1 a transaction": await _appended(server, 1),
                "8 a transaction": await _appended(server, 8),
                "delivered/s, 8 a transaction": await _delivered(server, 8),
            }
            for at_once in AT_ONCE:
                tokens = cycle(server.tokens)
                measured = await runs.measure(
                    ServerSide(server.url, server.pid),
                    lambda name, tokens=tokens: Conversation(next(tokens), name),
                    at_once,
                )
                ran = measured.figures()
                figures[f"runs/s, {at_once} at once"] = ran.runs_per_second
                figures[f"CPU ms a run, {at_once}"] = ran.cpu_ms
                figures[f"run p50 ms, {at_once}"] = ran.run_ms
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
