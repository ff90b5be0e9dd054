"""Service levels from where they are seen to who asks for them, over each of the stores."""

import asyncio
from pathlib import Path

import pytest

from tests.events.past import ANA, LONG_AGO, STREAM, Past, past
from tests.fakes.ports import ManualClock
from tidings.domain.context import SERVER
from tidings.domain.events import EventType
from tidings.domain.levels import APPEND_TO_SEND, SEND_TO_ACK
from tidings.health.levels import DeliveryLevels
from tidings.health.metrics import Metrics
from tidings.history.exporter import STEADY, Exporter
from tidings.history.latencies import Latencies
from tidings.history.service import History
from tidings.storage.cold.clickhouse import ClickHouseHistory
from tidings.storage.cold.parquet import ParquetHistory
from tidings.storage.cold.port import ColdStore
from tidings.storage.warm.duties import Duty


@pytest.mark.parametrize("engine", ["parquet", "clickhouse"])
def test_what_users_felt_is_told_by_latency_delivery_duration_and_quality(
    tmp_path: Path, engine: str, request: pytest.FixtureRequest
) -> None:
    async def scenario(store: Past, cold: ColdStore) -> None:
        clock, metrics = ManualClock(LONG_AGO), Metrics().history
        levels = DeliveryLevels(metrics, clock)
        for what, seconds in ((APPEND_TO_SEND, 0.004), (APPEND_TO_SEND, 0.3), (SEND_TO_ACK, 0.02)):
            levels.saw(what, seconds)
        await _told(store, "r1", seconds=2.5, score=0.8)
        await _acknowledged(store)
        await _told(store, "r2", seconds=40.0, score=None)

        clock.time = LONG_AGO + 120
        await Latencies(cold, levels, "w1", clock, STEADY).turn()
        duty = Duty(store.database, clock, "history", "w1", STEADY.duty_seconds)
        await Exporter(store.database, cold, duty, clock, metrics, STEADY).turn()

        found = await History(store.database, cold, clock).levels(days=2)
        counts = {what: seen["count"] for what, seen in found["latencies"].items()}
        assert counts == {APPEND_TO_SEND: 2, SEND_TO_ACK: 1}
        assert found["latencies"][APPEND_TO_SEND]["p50"] < 0.01
        assert found["latencies"][APPEND_TO_SEND]["p99"] >= 0.3
        assert found["acknowledged"] == 0.5
        (line,) = found["runs"]
        assert (line["agent"], line["outcome"]) == ("a", "completed")
        assert (line["runs"], line["delivered"], line["rated"]) == (2, 1, 1)
        assert line["quality"] == pytest.approx(0.8)
        assert line["seconds"]["p50"] <= 5
        assert line["seconds"]["p99"] >= 40

    async def whole() -> None:
        cold: ColdStore = ParquetHistory(tmp_path / "cold")
        if engine == "clickhouse":
            cold = ClickHouseHistory(request.getfixturevalue("clickhouse").url)
        async with past(tmp_path) as store:
            try:
                await scenario(store, cold)
            finally:
                await cold.close()

    asyncio.run(whole())


async def _told(store: Past, run_id: str, seconds: float, score: float | None) -> None:
    """Have a run end after so long, with a report of this quality."""
    await store.open_run(run_id, LONG_AGO - seconds)
    quality = {} if score is None else {"quality": {"score": score}}
    await store.append(run_id, (EventType.NOTICE, {"code": "told"}))
    await store.append(run_id, (EventType.AGENT_COMPLETED, {"answer": "done"} | quality))
    await _change(
        store,
        "update runs set state = 'ended', status = 'completed', ended_at = ? where run_id = ?",
        LONG_AGO,
        run_id,
    )


async def _acknowledged(store: Past) -> None:
    """Have a device say that it has applied all there is."""
    await _change(
        store,
        'insert into positions (user_id, device, stream, "offset", acknowledged_at)'
        " select user_id, 'd1', stream, head, 0 from streams where stream = ? and user_id = ?",
        STREAM,
        ANA.user_id,
    )


async def _change(store: Past, sql: str, *values: object) -> None:
    await store.database.write(SERVER, lambda tx: tx.execute(sql, *values))
