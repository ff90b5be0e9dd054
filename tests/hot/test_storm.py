"""T23: however often who asks gives up, nobody is given the answer to another's question."""

import asyncio
import os
import random

from tests.faults.devices import eventually
from tests.harness.proxy import FaultProxy, proxying
from tests.harness.valkey import ValkeyServer
from tests.hot.tiers import on_server
from tidings.domain.errors import Unavailable
from tidings.storage.hot.line import Line

CANCELLATIONS = int(os.environ.get("CANCELLATIONS", "20000"))
USERS = 50


class Storm:
    """Users who ask for what is theirs alone, eight things at once, and mostly give up."""

    def __init__(self, line: Line) -> None:
        self.answered = self.cancelled = self.refused = 0
        self.foreign: list[str] = []
        self._line = line
        self._rng = random.Random(23)

    async def user(self, user: int) -> None:
        number = 0
        while self.cancelled < CANCELLATIONS:
            async with asyncio.TaskGroup() as tasks:
                asked = [tasks.create_task(self._ask(f"{user}:{number + n}:")) for n in range(8)]
                for _ in range(self._rng.randrange(4)):
                    await asyncio.sleep(0)
                for task in self._rng.sample(asked, 7):
                    task.cancel()
            number += 8

    async def _ask(self, name: str) -> None:
        tag = name.ljust(self._rng.randrange(10, 3_000), "x")
        try:
            answer = await self._line.ask("ECHO", tag)
        except Unavailable:
            self.refused += 1
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        else:
            self.answered += 1
            if answer != tag.encode():
                self.foreign.append(f"{name} got {answer!r}"[:100])

    async def cuts(self, proxy: FaultProxy) -> None:
        """Cut the connections now and then."""
        while True:
            await asyncio.sleep(self._rng.uniform(0.2, 2.0))
            proxy.cut()


def test_t23_a_storm_of_cancellations_gives_nobody_the_answer_of_another(
    valkey: ValkeyServer,
) -> None:
    async def scenario() -> None:
        async with (
            proxying(valkey.port) as proxy,
            on_server(f"redis://127.0.0.1:{proxy.port}") as tier,
        ):
            proxy.up.piece, proxy.down.piece = 1_000, 700  # questions and answers come in pieces
            storm = Storm(tier._line)
            async with asyncio.TaskGroup() as tasks:
                cutting = tasks.create_task(storm.cuts(proxy))
                users = [tasks.create_task(storm.user(user)) for user in range(USERS)]
                await asyncio.wait(users)
                cutting.cancel()
            assert storm.foreign == []
            assert storm.answered > USERS
            assert storm.cancelled >= CANCELLATIONS
            await eventually(lambda: len(valkey.connections("tidings")) == 2)

    asyncio.run(scenario())
