"""Records to keep, of two users, and both stores to keep them in."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from tidings.domain.context import UserContext
from tidings.domain.levels import SEND_TO_ACK
from tidings.storage.cold.port import ColdStore, Days
from tidings.storage.cold.records import Batch, KeptEvent, KeptLatency, KeptRun, KeptUsage

ANA = UserContext("acme", "ana", "s1")
BOB = UserContext("acme", "bob", "s2")
DAY = "2026-11-20"
ALWAYS = Days("1970-01-01", "2100-01-01")

Story = Callable[[ColdStore], Awaitable[None]]


def event(number: int, thread: str = "t1", user: str = "ana", **more: Any) -> KeptEvent:
    """Return the event at an offset; its frame has all that may trouble a format."""
    frame = msgspec.json.encode({"n": number, "text": "é \x00 \n \" ' / {x} :y \ud7ff"}).decode()
    kept = KeptEvent(
        event_id=f"e_{thread}_{number}",
        tenant_id="acme",
        user_id=user,
        thread_id=thread,
        run_id=f"r_{thread}",
        type="notice",
        first=number,
        last=number,
        day=DAY,
        frame=frame,
        exported_at=1.0,
    )
    return msgspec.structs.replace(kept, **more)


def run(name: str = "r1", user: str = "ana", **more: Any) -> KeptRun:
    kept = KeptRun(
        run_id=name,
        tenant_id="acme",
        user_id=user,
        thread_id="t1",
        agent="analysis",
        outcome="completed",
        day=DAY,
        seconds=1.2,
        attempts=1,
        tool_calls=3,
        quality=None,
        delivered=1,
        exported_at=1.0,
    )
    return msgspec.structs.replace(kept, **more)


def usage(name: str = "r1", user: str = "ana", **more: Any) -> KeptUsage:
    kept = KeptUsage(
        run_id=name,
        tenant_id="acme",
        user_id=user,
        model="m:large",
        day=DAY,
        requests=2,
        input_tokens=100,
        output_tokens=20,
        cost_usd=0.25,
        unpriced=0,
        exported_at=1.0,
    )
    return msgspec.structs.replace(kept, **more)


def latency(bucket: int, count: int, **more: Any) -> KeptLatency:
    kept = KeptLatency("k1", 29_000_000, SEND_TO_ACK, bucket, DAY, count, 1.0)
    return msgspec.structs.replace(kept, **more)


def events(*offsets: int, thread: str = "t1", user: str = "ana") -> Batch:
    return Batch(events=tuple(event(n, thread, user) for n in offsets))


async def offsets(store: ColdStore, thread: str = "t1", before: int = 10**9) -> list[int]:
    """Return the offsets that Ana sees of a thread, newest first."""
    return [found.last for found in await store.events(ANA, thread, before, 1_000)]


def with_store(store: ColdStore, story: Story) -> None:
    """Tell a story with a store, and close it."""

    async def whole() -> None:
        try:
            await story(store)
        finally:
            await store.close()

    asyncio.run(whole())


def parts(folder: Path) -> list[str]:
    """Return the files of an embedded store, by table, day and name."""
    return sorted(str(path.relative_to(folder)) for path in folder.glob("*/*/*"))
