"""An exporter at work on a past of the test's choosing, with a clock that is moved by hand."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from tests.events.past import ANA, LONG_AGO, Past, past
from tests.fakes.cold import FaultyHistory
from tests.fakes.ports import ManualClock
from tests.history.keeping import ALWAYS
from tidings.domain.context import SERVER
from tidings.domain.events import Event, EventType
from tidings.health.levels import DeliveryLevels
from tidings.health.metrics import Metrics
from tidings.history.exporter import STEADY, Exporter
from tidings.history.latencies import Latencies
from tidings.history.service import History
from tidings.storage.warm.duties import Duty
from tidings.storage.warm.port import Database

SOON = LONG_AGO + 60.0


class Feeding:
    """A past, a cold store, and what brings the one to the other."""

    def __init__(self, folder: Path, store: Past, cold: FaultyHistory) -> None:
        self.folder = folder
        self.past = store
        self.cold = cold
        self.clock = ManualClock(SOON)
        self.metrics = Metrics().history
        self.levels = DeliveryLevels(self.metrics, self.clock)
        self.latencies = Latencies(cold, self.levels, "w1", self.clock, STEADY)
        self.exporter = self.an_exporter("w1")
        self.history = History(store.database, cold, self.clock)

    def an_exporter(self, name: str, database: Database | None = None, **policy: Any) -> Exporter:
        """Return an exporter of a process of this name."""
        database = database or self.past.database
        chosen = replace(STEADY, **policy)
        duty = Duty(database, self.clock, "history", name, chosen.duty_seconds)
        return Exporter(database, self.cold, duty, self.clock, self.metrics, chosen)

    async def told_run(self, run_id: str, pieces: int = 3, at: float = LONG_AGO) -> None:
        """Have a run end that told something in pieces and has not been exported."""
        await self.past.open_run(run_id, at)
        await self.past.append(run_id, (EventType.NOTICE, {"code": run_id}), at=at)
        told = [{"message_id": run_id, "text": f"{n} "} for n in range(pieces)]
        await self.past.append(run_id, *((EventType.ANSWER_DELTA, p) for p in told), at=at)
        await self.past.end_run(run_id, at, exported=False)

    async def frames(self, thread_id: str = "t1") -> list[Event]:
        """Return what the cold tier has of a thread, oldest first."""
        page = await self.cold.events(SERVER, thread_id, 10**9, 1_000)
        return [msgspec.json.decode(found.frame, type=Event) for found in reversed(page)]

    async def counts(self) -> dict[str, int]:
        """Return how many runs the cold tier counts, by outcome."""
        return {line.outcome: line.runs for line in await self.cold.runs(SERVER, ALWAYS)}

    async def marked(self) -> int:
        """Return how many runs are known to be exported."""
        ((marked,),) = await self.past.rows(
            "select count(*) from runs where exported_at is not null"
        )
        return int(marked)

    async def pages(self, limit: int) -> list[Event]:
        """Read the whole thread page by page, back to its beginning."""
        events: list[Event] = []
        before: int | None = None
        while True:
            page = await self.history.page(ANA, "t1", before, limit)
            assert page["missing"] == 0
            found = [msgspec.json.decode(frame, type=Event) for frame in page["events"]]
            events = found + events
            before = page["before"]
            if before is None:
                return events


def texts(events: list[Event]) -> list[tuple[str, str | None, str]]:
    """Return what was told, with neighbouring pieces of an answer as one: however it is stored."""
    told: list[tuple[str, str | None, str]] = []
    for event in events:
        if event.type == EventType.ANSWER_DELTA and told and told[-1][0] == event.type:
            told[-1] = (*told[-1][:2], told[-1][2] + event.payload["text"])
        elif event.type == EventType.ANSWER_DELTA:
            told.append((event.type, event.run_id, event.payload["text"]))
        else:
            told.append((event.type, event.run_id, event.event_id))
    return told


def check_whole(events: list[Event], head: int) -> None:
    """Check that there is every offset up to the head, once."""
    reached = 0
    for event in events:
        assert event.first == reached + 1
        reached = event.offset
    assert reached == head


def feeding(folder: Path, scenario: Callable[[Feeding], Awaitable[None]]) -> None:
    """Play a scenario on an empty past and an empty cold store."""

    async def whole() -> None:
        async with past(folder) as store:
            cold = FaultyHistory(folder / "cold")
            try:
                await scenario(Feeding(folder, store, cold))
            finally:
                await cold.close()

    asyncio.run(whole())
