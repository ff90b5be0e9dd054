"""How far devices have come: stored together, never backwards, and not lost with a failed write."""

import asyncio
from pathlib import Path

import pytest

from tests.fakes.ports import FaultyDatabase, ManualClock
from tests.stores import store_in
from tests.world import ANA
from tidings.domain.context import SERVER
from tidings.domain.errors import Unavailable
from tidings.events.positions import Positions
from tidings.storage.warm.port import Transaction


def test_what_could_not_be_stored_is_stored_the_next_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        inner = store_in(tmp_path)
        database = FaultyDatabase(inner, lambda number: number == 1, after=False)
        positions = Positions(database, ManualClock())

        async def streams(tx: Transaction) -> None:
            for stream in ("thread:a", "thread:b"):
                await tx.execute("insert into streams values (?, 'ana', 'k3f9ab', 9, 1)", stream)

        await inner.write(SERVER, streams)
        positions.acknowledge(ANA, "d1", {"thread:a": 5, "thread:b": 7})
        with pytest.raises(Unavailable):
            await positions.store()
        positions.acknowledge(ANA, "d1", {"thread:a": 4, "thread:b": 9})
        await positions.store()
        rows = await inner.read(
            SERVER, lambda tx: tx.execute('select stream, "offset" from positions order by stream')
        )
        assert rows == [("thread:a", 5), ("thread:b", 9)]
        await inner.close()

    asyncio.run(scenario())
