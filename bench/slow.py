"""Tiers that are slow: whether chats feel a ClickHouse that is, and what a PostgreSQL costs."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, cycle
from random import Random
from statistics import median

from bench import delivery
from bench.asking import Conversation, Failed
from bench.processes import Served, served
from bench.tables import percentile, table
from tidings.client.session import Session, always
from tidings.domain.commands import StartAgent, StartPayload
from tidings.domain.errors import TidingsError
from tidings.domain.events import TERMINAL

ROUNDS = 3
SECONDS = 6.0
CONNECTIONS, EVENTS_PER_SECOND = 100, 500
ASKING, BREATH_SECONDS = 4, 0.2
ANSWER_SECONDS = 5.0
"""So late a slow ClickHouse answers: as long as the product waits for it."""
LATENCIES_SECONDS = (0.0, 0.05, 0.2, 0.5)
USERS = 6
OFFERED_SECONDS = 24.0
PAUSE_SECONDS = 4.0
AGAIN_SECONDS = 0.2
PATIENCE_SECONDS = 60.0
PASSING = {"storage_unavailable", "storage_busy", "overloaded", "rate_limited"}


async def report() -> str:
    history = await _history()
    print(history, flush=True)
    return await _store()


# -- the history ------------------------------------------------------------------------------


async def _history() -> str:
    """Compare what is appended while runs end, with a ClickHouse that is well and that is not."""
    from tests.harness.clickhouse import ClickHouseDouble  # noqa: PLC0415 - perhaps missing
    from tests.harness.proxy import FaultProxy, proxying  # noqa: PLC0415
    from tests.harness.running import running  # noqa: PLC0415

    def well(_: FaultProxy) -> None:
        """Leave it."""

    def slow(proxy: FaultProxy) -> None:
        proxy.down.latency = ANSWER_SECONDS

    def silent(proxy: FaultProxy) -> None:
        proxy.down.block()

    found: dict[str, list[list[float]]] = {}
    with running(ClickHouseDouble) as clickhouse:
        for _ in range(ROUNDS):
            for spoil in (well, slow, silent):
                clickhouse.calm()
                async with proxying(clickhouse.port) as proxy:
                    spoil(proxy)
                    url = clickhouse.url.replace(f":{clickhouse.port}/", f":{proxy.port}/")
                    found.setdefault(spoil.__name__, []).append(await _beside(url))
    rows = []
    first: list[float] = []
    for name, rounds in found.items():
        medians = [median(each) for each in zip(*rounds, strict=True)]
        first = first or medians
        ratios = [medians[at] / first[at] for at in (0, 1)]
        rows.append([name, medians[0], ratios[0], medians[1], ratios[1], medians[2]])
    heads = ["ClickHouse is", "p50, ms", "ratio", "p99, ms", "ratio", "runs ended/s"]
    return table("Append to applied, while runs are brought to ClickHouse", heads, rows)


async def _beside(url: str) -> list[float]:
    """Return p50 and p99 from append to arrival, and the runs a second, of a server."""
    async with served("exporting", settings={"TIDINGS_COLD_URL": url}) as server:
        begun, ended = time.monotonic(), count()
        async with _asking(server, lambda: next(ended)):
            took = await delivery.latencies_at(server, CONNECTIONS, EVENTS_PER_SECOND, SECONDS)
        runs = next(ended) / (time.monotonic() - begun)
    return [percentile(took, 0.5), percentile(took, 0.99), runs]


@asynccontextmanager
async def _asking(server: Served, told: Callable[[], object]) -> AsyncIterator[None]:
    """Have some users ask one question after the other around the block."""
    tokens = cycle(server.tokens)
    async with asyncio.TaskGroup() as tasks:
        users = [
            tasks.create_task(_ask(Conversation(next(tokens), f"u{n}"), server.url, told))
            for n in range(ASKING)
        ]
        try:
            yield
        finally:
            for user in users:
                user.cancel()


async def _ask(user: Conversation, url: str, told: Callable[[], object]) -> None:
    await user.open(url)
    try:
        while True:
            with suppress(Failed):
                await user.ask()
                told()
            await asyncio.sleep(BREATH_SECONDS)
    finally:
        user.close()


# -- the store --------------------------------------------------------------------------------


@dataclass(slots=True)
class Offer:
    """What users wanted, and what became of it."""

    offered: int = 0
    refused: int = 0
    accepted_after: list[float] = field(default_factory=list)
    ended_after: list[float] = field(default_factory=list)


async def _store() -> str:
    """Offer little, to a PostgreSQL that is further and further away."""
    from tests.harness.postgres import PostgresServer  # noqa: PLC0415 - perhaps not installed
    from tests.harness.proxy import proxying  # noqa: PLC0415

    server = PostgresServer(fsync="on", full_page_writes="on")
    rows: list[list[object]] = []
    try:
        for latency in LATENCIES_SECONDS:
            async with proxying(server.port) as proxy:
                url = server.database().replace(f":{server.port}/", f":{proxy.port}/")
                async with served("product", settings={"TIDINGS_DATABASE_URL": url}) as product:
                    offer = Offer()
                    await _offer(product, offer, OFFERED_SECONDS / 4)  # connections are there
                    offer = Offer()
                    proxy.up.latency = latency
                    await _offer(product, offer, OFFERED_SECONDS)
                    proxy.calm()
                    back = time.monotonic()
                    await _one(product.url, product.tokens[0], "back", Offer())
                    rows.append(_row(latency, offer, time.monotonic() - back))
    finally:
        server.close()
    heads = ["each message takes", "offered", "done, %", "refused", "accepted p50, s"]
    heads += ["ended p50, s", "max", "back after, s"]
    return table("A little work, on a PostgreSQL that is far away", heads, rows)


def _row(latency: float, offer: Offer, back: float) -> list[object]:
    return [
        f"{latency * 1000:.0f} ms more",
        offer.offered,
        100 * len(offer.ended_after) / offer.offered,
        offer.refused,
        percentile(offer.accepted_after, 0.5),
        percentile(offer.ended_after, 0.5),
        max(offer.ended_after, default=0.0),
        back,
    ]


async def _offer(server: Served, offer: Offer, seconds: float) -> None:
    """Have each user ask now and then, whatever became of the question before."""
    async with asyncio.TaskGroup() as tasks:
        for at in range(int(seconds / PAUSE_SECONDS)):
            for user in range(USERS):
                name = f"{seconds}.{at}"
                tasks.create_task(_one(server.url, server.tokens[user], name, offer))
                await asyncio.sleep(PAUSE_SECONDS / USERS)


async def _one(url: str, token: str, name: str, offer: Offer) -> None:
    """Ask once, again under the same id while it is refused for now, until it has ended."""
    offer.offered += 1
    begun = time.monotonic()
    with suppress(TimeoutError):
        async with (
            asyncio.timeout(PATIENCE_SECONDS),
            Session(url, always(token), name, Random(1)) as session,
        ):
            run = await _accepted(session, StartAgent(name, StartPayload("Go.", "one_tool")), offer)
            offer.accepted_after.append(time.monotonic() - begun)
            async for applied in session.events():
                if applied.event.run_id == run and applied.event.type in TERMINAL:
                    offer.ended_after.append(time.monotonic() - begun)
                    return


async def _accepted(session: Session, command: StartAgent, offer: Offer) -> str:
    while True:
        try:
            return (await session.send(command)).run_id
        except TidingsError as error:
            if error.code not in PASSING:
                raise
            offer.refused += 1
            await asyncio.sleep(AGAIN_SECONDS)
