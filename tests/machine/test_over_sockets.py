"""The same mischief over real sockets, on a real loop and a real file: fewer steps, no model."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults.devices import Device, device, eventually
from tests.faults.served import Served, served
from tests.harness.ports import free_port
from tests.harness.proxy import FaultProxy, proxying
from tests.harness.stored import stored_streams
from tests.invariants import check
from tidings.domain.commands import Receipt
from tidings.domain.events import thread_stream, user_stream
from tidings.events import compaction
from tidings.protocol.connection import Pace
from tidings.storage.hot.memory import LocalHints

STEPS = 200
QUICK = Pace(ping=0.5, pong=0.5, ack_stall=3.0, send=3.0)
SETTLE_SECONDS = 30.0


class SpoiltHints(LocalHints):
    """Loses, doubles and delays what it is told, as long as it is not honest."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.honest = True
        self._rng = rng
        self._late: list[object] = []

    def publish(self, note: object) -> None:
        if self.honest:
            super().publish(note)
            return
        self._late.append(note)
        self._rng.shuffle(self._late)
        for late in self._late[: self._rng.randrange(3)]:
            super().publish(late)
        self._late = self._late[self._rng.randrange(3) :]


class Play:
    """A server behind a proxy, two devices of each of two users, and what is done to them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.devices: list[Device] = []
        self.tasks = asyncio.TaskGroup()
        self._folder = folder
        self._port = free_port()
        self._server: Served
        self._running = AsyncExitStack()
        self._hints = SpoiltHints(self.rng)
        self._proxy: FaultProxy
        self._threads: dict[str, list[str]] = {"ana": [], "bob": []}
        self._asked = 0

    async def run(self) -> None:
        await self._start()
        async with proxying(self._port) as self._proxy, AsyncExitStack() as devices:
            for name in self._threads:
                user_id, token = await self._server.user(name)
                for number in range(2):
                    opened = device(self._proxy.url, user_id, token, f"{name}-{number}")
                    made = await devices.enter_async_context(opened)
                    await made.session.follow(user_stream(user_id))
                    self.devices.append(made)
            async with self.tasks:
                for _ in range(STEPS):
                    await self._step()
                await self._restart()
                self._proxy.calm()
                self._hints.honest = True
            await eventually(self._is_told, SETTLE_SECONDS)
            self._check()
        await self._running.aclose()

    async def _step(self) -> None:
        does: list[Callable[[], Coroutine[Any, Any, None]]] = [
            self._ask, self._cut, self._reset, self._crawl, self._hold, self._hint, self._compact,
            self._wait, self._restart,
        ]  # fmt: skip
        (chosen,) = self.rng.choices(does, (8, 4, 4, 2, 2, 3, 2, 20, 0.5))
        await chosen()
        await asyncio.sleep(0.01)

    async def _ask(self) -> None:
        self._asked += 1
        self.tasks.create_task(self._asking(self.rng.randrange(4), f"m{self._asked}"))

    async def _asking(self, number: int, id: str) -> None:
        asking = self.devices[number]
        threads = self._threads["ana" if number < 2 else "bob"]
        thread = self.rng.choice(threads) if len(threads) > 1 else None
        text = f"tell {self.rng.randrange(5, 40)} 0.004"
        receipt = await asking.ask(text, id, thread)
        assert await asking.ask(text, id, thread) == _repeated(receipt)
        if thread is None:
            threads.append(receipt.thread_id)
            other = self.devices[number ^ 1]
            await other.session.follow(thread_stream(receipt.thread_id))

    async def _cut(self) -> None:
        self._proxy.cut()

    async def _reset(self) -> None:
        self._proxy.down.reset_after = self.rng.randrange(1, 4_000)

    async def _crawl(self) -> None:
        self._proxy.calm()
        self._proxy.down.piece = self.rng.choice((1, 7, 100, 16_384))
        self._proxy.down.latency = self.rng.choice((0.0, 0.001))

    async def _hold(self) -> None:
        held = self.rng.choice((self._proxy.up, self._proxy.down))
        held.block()
        await asyncio.sleep(self.rng.choice((0.05, 0.3)))
        held.unblock()

    async def _hint(self) -> None:
        self._hints.honest = not self._hints.honest

    async def _compact(self) -> None:
        now = self._server.world.clock.now()
        await compaction.compact(self._server.world.database, now, now)

    async def _wait(self) -> None:
        await asyncio.sleep(self.rng.choice((0.01, 0.05, 0.1)))

    async def _start(self) -> None:
        self._hints = SpoiltHints(self.rng)
        serving = served(self._folder, pace=QUICK, hints=self._hints, port=self._port)
        self._server = await self._running.enter_async_context(serving)

    async def _restart(self) -> None:
        await self._running.aclose()
        await self._start()

    def _is_told(self) -> bool:
        try:
            self._check()
        except AssertionError:
            return False
        return True

    def _check(self) -> None:
        histories = [made.history for made in self.devices]
        check(stored_streams(self._folder), histories, at_head=True, ended=True, proven=True)
        assert sum(made.count for made in self.devices) > 500
        assert not any(made.session.core.mismatches for made in self.devices)


def _repeated(receipt: Receipt) -> Receipt:
    return Receipt(receipt.ref, receipt.run_id, receipt.thread_id, receipt.offset, duplicate=True)


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_happens_to_sockets_everybody_applies_everything_once(
    tmp_path: Path, seed: int
) -> None:
    asyncio.run(Play(tmp_path, seed).run())
