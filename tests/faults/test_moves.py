"""F16, F32: from one server to the next on the same store, by a cut, a drain or a restart."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from tests.faults.conftest import Mortal
from tests.faults.devices import Device, device, eventually, is_alive
from tests.faults.served import Served, served
from tests.harness.proxy import FaultProxy, proxying
from tests.harness.stored import stored_streams
from tests.invariants import check
from tidings.domain.events import thread_stream


class Move(NamedTuple):
    """Two servers of one store, and a client that is led to one of them, at first to `one`."""

    one: Served
    two: Served
    proxy: FaultProxy
    client: Device


@asynccontextmanager
async def moving(folder: Path) -> AsyncIterator[Move]:
    """Have a client that moves inside the block; behind it everything has ended, and it has all."""
    async with served(folder) as one, served(folder) as two, proxying(one.port) as proxy:
        ana, token = await one.user("ana")
        async with device(proxy.url, ana, token, "d1") as client:
            yield Move(one, two, proxy, client)
        check(stored_streams(folder), [client.history], at_head=True, ended=True, proven=True)


def test_f16_a_client_goes_on_at_another_server_with_the_cursor_of_the_first(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with moving(tmp_path) as (one, two, proxy, client):
            receipt = await client.ask("tell 100 0.01", "m1")
            for _ in range(6):
                await client.more()
                proxy.target = random.Random(client.count).choice([one.port, two.port])
                proxy.cut()
            await client.until_end(receipt)

    asyncio.run(scenario())


def test_f32_a_drained_client_is_at_the_next_server_before_it_leaves_the_first(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with moving(tmp_path) as (one, two, proxy, client):
            receipt = await client.ask("tell 120 0.02", "m1")
            await client.more()
            proxy.target = two.port
            fewest = proxy.open
            draining = asyncio.ensure_future(one.presence.drain())
            while not draining.done():
                fewest = min(fewest, proxy.open)
                await asyncio.sleep(0.001)
            assert (fewest, proxy.accepted, len(two.presence)) == (1, 2, 1)
            await client.until_end(receipt)

    asyncio.run(scenario())


def test_f32_a_restart_under_load_loses_and_doubles_nothing(mortal: Mortal) -> None:
    async def scenario() -> None:
        pid = mortal.bear()
        async with mortal.device("d1") as one, mortal.device("d2") as two:
            receipts = [await one.ask("tell 60 0.02", f"m{n}") for n in range(5)]
            for receipt in receipts:
                await two.session.follow(thread_stream(receipt.thread_id))
            await one.until(lambda: one.count > 30)
            os.kill(pid, signal.SIGTERM)
            await eventually(lambda: not is_alive(pid))
            mortal.bear()
            await one.until_end(*receipts)
            await two.until_end(*receipts)
        mortal.check(one, two)

    asyncio.run(scenario())
