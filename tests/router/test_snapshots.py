"""A snapshot and the events after its cursor make the state that a later snapshot shows."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec

from tests.world import ANA, World, world
from tidings.domain.events import TERMINAL, Event, thread_stream
from tidings.domain.runs import Outcome
from tidings.runs.context import RunContext

PIECES = ("Über ", "👩‍👩‍👧 ", "and </script> ", "\u202ertl\u202c.")


class Paused:
    """An agent that writes an answer piece by piece, and waits to be told to go on."""

    def __init__(self) -> None:
        self.reached = asyncio.Semaphore(0)
        self.go_on = asyncio.Semaphore(0)

    async def __call__(self, ctx: RunContext) -> Outcome:
        await ctx.plan("Write.", ["write"])
        for n, piece in enumerate(PIECES):
            await ctx.delta("m", piece)
            await ctx.think(f"piece {n}", n / len(PIECES))
            await ctx.step(f"s{n}", self._wait, str)
        return Outcome("".join(PIECES))

    async def _wait(self) -> str:
        self.reached.release()
        await self.go_on.acquire()
        return ""


def state(snapshot: dict[str, Any]) -> dict[str, Any]:
    """Return what a client shows: who said what, and of open runs what they have told."""
    shown: dict[str, Any] = {"messages": [], "open": {}}
    for message in snapshot["messages"]:
        shown["messages"].append((message["type"], message["run_id"], message["payload"]))
    for frame in snapshot["open_events"]:
        _told(shown, msgspec.json.decode(msgspec.json.encode(frame), type=Event))
    return shown


def apply(shown: dict[str, Any], event: Event) -> None:
    """Take an event that came over the stream."""
    if event.type == "message_received" or event.type in TERMINAL:
        shown["messages"].append((event.type, event.run_id, event.payload))
    _told(shown, event)
    if event.type in TERMINAL:
        del shown["open"][event.run_id]


def _told(shown: dict[str, Any], event: Event) -> None:
    run = shown["open"].setdefault(event.run_id, {"text": "", "thoughts": []})
    if event.type == "answer_delta":
        run["text"] += event.payload["text"]
    if event.type == "agent_thinking":
        run["thoughts"].append(event.payload["reasoning"])


async def taken(built: World, thread_id: str) -> dict[str, Any]:
    snapshot = await built.reads.snapshot(ANA, thread_id)
    decoded: dict[str, Any] = json.loads(msgspec.json.encode(snapshot))
    return decoded


async def after(built: World, thread_id: str, cursor: str) -> list[Event]:
    page = await built.reads.events(ANA, thread_stream(thread_id), cursor, 1000)
    return [msgspec.json.decode(frame, type=Event) for frame in page["events"]]


async def until_told(built: World, thread_id: str, reasoning: str) -> None:
    """Wait until this thought is in the log."""
    woken = asyncio.Event()
    follower = await built.feed.follow(ANA, thread_stream(thread_id), "0", woken.set)
    try:
        while not any(reasoning.encode() in frame for _, frame, _ in await follower.read()):
            await woken.wait()
            woken.clear()
    finally:
        follower.close()


def test_a_snapshot_and_what_follows_are_a_later_snapshot(tmp_path: Path) -> None:
    async def scenario() -> None:
        agent = Paused()
        async with world(tmp_path, {"paused": agent}) as built:
            await built.begin()
            async with built.working():
                first = await built.ask("write")
                thread_id = first.thread_id
                snapshots = [await taken(built, thread_id)]
                for _ in PIECES:
                    await agent.reached.acquire()
                    snapshots.append(await taken(built, thread_id))
                    agent.go_on.release()
                await built.events_until_end(first)
                second = await built.ask("again", thread=thread_id)
                for _ in PIECES:
                    await agent.reached.acquire()
                    snapshots.append(await taken(built, thread_id))
                    agent.go_on.release()
                await built.events_until_end(second)
            last = await taken(built, thread_id)
            for number, snapshot in enumerate(snapshots):
                shown = state(snapshot)
                for event in await after(built, thread_id, snapshot["cursor"]):
                    apply(shown, event)
                assert shown == state(last), number
            assert "".join(PIECES) in {m[2].get("answer") for m in state(last)["messages"]}
            assert any(state(s)["open"] for s in snapshots)

    asyncio.run(scenario())


def test_a_reload_in_the_middle_of_an_answer_shows_the_same_text(tmp_path: Path) -> None:
    """F39."""

    async def scenario() -> None:
        agent = Paused()
        async with world(tmp_path, {"paused": agent}) as built:
            await built.begin()
            async with built.working():
                asked = await built.ask("write")
                for written in range(1, len(PIECES) + 1):
                    await agent.reached.acquire()
                    await until_told(built, asked.thread_id, f"piece {written - 1}")
                    (run,) = state(await taken(built, asked.thread_id))["open"].values()
                    assert run["text"] == "".join(PIECES[:written])
                    agent.go_on.release()
                await built.events_until_end(asked)

    asyncio.run(scenario())
