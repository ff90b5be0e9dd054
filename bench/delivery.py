"""Events: durable, delivered and acknowledged, against the same server's push of prepared bytes."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench.processes import Served, served
from bench.tables import percentile, table
from bench.wire import Reader

SECONDS = 4.0
ACK_SECONDS, ACK_TURNS = 0.2, 20
DRAIN_SECONDS = 20.0
LAG_SECONDS = 10.0
ADMITTED_AT_ONCE, ADMISSION_SECONDS = 100, 0.21
STAMP = b'"payload":{"t":'


@dataclass(frozen=True, slots=True)
class Rate:
    """Events that arrived, by the wall's clock and by the server's processor."""

    events: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        return self.events / self.seconds

    @property
    def per_cpu_second(self) -> float:
        return self.events / self.cpu_seconds


@asynccontextmanager
async def readers(
    server: Served, connections: int, streams: list[str] | None = None
) -> AsyncIterator[list[Reader]]:
    """Open so many connections, each with a stream of its own, and acknowledge for them."""
    found = [Reader() for _ in range(connections)]
    for start in range(0, connections, ADMITTED_AT_ONCE):
        async with asyncio.TaskGroup() as tasks:
            for number in range(start, min(start + ADMITTED_AT_ONCE, connections)):
                token = server.tokens[number % len(server.tokens)]
                stream = streams[number] if streams else None
                tasks.create_task(found[number].connect(server.url, token, stream))
            tasks.create_task(asyncio.sleep(ADMISSION_SECONDS))
    acking = asyncio.get_running_loop().create_task(_acknowledge(found))
    try:
        yield found
    finally:
        acking.cancel()
        for reader in found:
            reader.wire.close()


async def product(connections: int, each: int) -> Rate:
    """Append to every connection's stream, `each` events a transaction, until each is applied."""
    async with served("product") as server:
        streams = (await server.tell("open", connections=connections))["streams"]
        async with readers(server, connections, streams) as found:
            rate = await measure(server, found, each, SECONDS)
            kept = await server.tell("acknowledged")
            assert kept["acknowledged"] == rate.events, kept
            return rate


async def limit(connections: int, each: int) -> Rate:
    """Push prepared messages of `each` events."""
    async with served("limit") as server, readers(server, connections) as found:
        return await measure(server, found, each, SECONDS)


async def measure(server: Served, found: list[Reader], each: int, seconds: float) -> Rate:
    """Have events produced, and count until each has arrived."""
    cpu = server.cpu_seconds()
    done = await server.tell("produce", seconds=seconds, each=each)
    await _until(lambda: sum(reader.events for reader in found) >= done["appended"])
    taken = time.monotonic() - done["begun"]
    return Rate(done["appended"], taken, server.cpu_seconds() - cpu)


async def latency(connections: int, per_second: int) -> list[float]:
    """Return the milliseconds from each append to its arrival, at a steady rate."""
    async with served("product") as server:
        return await latencies_at(server, connections, per_second, SECONDS)


async def latencies_at(
    server: Served, connections: int, per_second: int, seconds: float
) -> list[float]:
    """Return the same of a server that is there."""
    took: list[float] = []

    def on_events(message: bytes, _count: int) -> None:
        now, at = time.monotonic(), 0
        while (at := message.find(STAMP, at)) >= 0:
            at += len(STAMP)
            took.append((now - float(message[at : message.index(b",", at)])) * 1000)

    streams = (await server.tell("open", connections=connections))["streams"]
    async with readers(server, connections, streams) as found:
        for reader in found:
            reader.on_events = on_events
        pause = connections / per_second
        done = await server.tell("produce", seconds=seconds, each=1, pause=pause)
        await _until(lambda: len(took) >= done["appended"])
    return took


async def idle(connections: int) -> list[float]:
    """Return the KiB that an idle connection takes, and the loop's lag beside so many, in ms."""
    async with served("product") as server:
        streams = (await server.tell("open", connections=connections))["streams"]
        before = server.memory_mib()
        async with readers(server, connections, streams):
            kib = (server.memory_mib() - before) * 1024 / connections
            lag = await server.tell("lag", seconds=LAG_SECONDS)
            return [kib, lag["p50"], lag["p99"], lag["max"]]


async def report() -> str:
    text = table(
        "Events durable, delivered, acknowledged, against the push of prepared frames",
        ["events/s", "product", "push, one a send", "ratio", "push, joined", "ratio", "CPU us"],
        [await _compared(connections, each) for connections in (100, 1000) for each in (1, 8)],
    )
    rows: list[list[object]] = []
    for connections, per_second in ((200, 1000), (2000, 3000)):
        took = await latency(connections, per_second)
        shares = [percentile(took, share) for share in (0.5, 0.99, 1.0)]
        rows.append([f"{connections} connections, {per_second} events/s", *shares])
    text += "\n" + table("Append to applied", ["ms", "p50", "p99", "max"], rows)
    rows = [[f"{count:,} connections", *await idle(count)] for count in (1_000, 10_000)]
    heads = ["", "KiB each", "loop lag p50, ms", "p99", "max"]
    return text + "\n" + table("Idle connections, in one process", heads, rows)


async def _compared(connections: int, each: int) -> list[object]:
    ours = await product(connections, each)
    single = await limit(connections, 1)
    joined = single if each == 1 else await limit(connections, each)
    return [
        f"{connections} connections, {each} a transaction",
        ours.per_second,
        single.per_second,
        ours.per_second / single.per_second,
        joined.per_second,
        ours.per_second / joined.per_second,
        1e6 / ours.per_cpu_second,
    ]


async def _until(arrived: Callable[[], bool]) -> None:
    async with asyncio.timeout(DRAIN_SECONDS):
        while not arrived():
            await asyncio.sleep(0.005)


async def _acknowledge(found: list[Reader]) -> None:
    """Acknowledge in time what did not come to a full batch; not all at the same moment."""
    while True:
        for turn in range(ACK_TURNS):
            await asyncio.sleep(ACK_SECONDS / ACK_TURNS)
            for reader in found[turn::ACK_TURNS]:
                reader.acknowledge()
