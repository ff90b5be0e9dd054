"""Many runs with random faults: of agents, tools, models, the store, the worker, and of people.

`python -m tests.runs.storm [RUNS] [SEED]` prints what it found; `test_storm.py` does fewer.
"""

import asyncio
import random
import sys
import tempfile
import time
from collections import Counter as Tally
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fakes.models import ScriptedModel, says
from tests.fakes.ports import FaultyDatabase
from tests.world import World, world
from tidings.domain.commands import (
    AnswerInput,
    AnswerPayload,
    Chat,
    ChatPayload,
    IfBusy,
    Receipt,
    StopAgent,
    StopPayload,
)
from tidings.domain.context import SERVER, UserContext
from tidings.domain.errors import Conflict, Failure, LimitExceeded, TidingsError, Unavailable
from tidings.domain.events import TERMINAL
from tidings.domain.facts import ToolResult
from tidings.domain.permissions import Effect
from tidings.domain.runs import Outcome
from tidings.models.port import ModelReply, ModelRequest, OnText
from tidings.runs.context import RunContext
from tidings.runs.queue import Limits
from tidings.storage.warm.port import Transaction
from tidings.tools.port import Tool, ToolContext, tool

RUN_SECONDS = 4.0
LATE_SECONDS_MAX = 5.0
FAILING_WRITES = 0.004
AT_ONCE = 150
LIVES_SECONDS = 6.0
"""How long a worker lives before it is replaced."""


@dataclass
class Storm:
    """What is wrong in it, by a seed, and what its target counted."""

    rng: random.Random
    paid: Tally[str] = field(default_factory=Tally)

    def tools(self) -> tuple[Tool, ...]:
        @tool(effect=Effect.WRITE, trusted=True, deadline_seconds=1.0)
        async def pay(ctx: ToolContext, ending: str) -> ToolResult:
            """Pay, then end as told."""
            self.paid[ctx.idempotency_key] += 1
            await end_as(ending)
            return ToolResult("It is paid.")

        @tool(effect=Effect.READ, trusted=True, deadline_seconds=1.0)
        async def look(ctx: ToolContext, ending: str) -> ToolResult:
            """Look, then end as told."""
            await end_as(ending)
            return ToolResult("It is there.")

        return pay, look


class Moody(ScriptedModel):
    """Ends as the request says."""

    async def respond(self, request: ModelRequest, on_text: OnText) -> ModelReply:
        await end_as(request.messages[-1].text)
        return await super().respond(request, on_text)


ENDINGS = ("well", "well", "well", "slow", "fails", "breaks", "hangs")


async def end_as(ending: str) -> None:
    match ending:
        case "slow":
            await asyncio.sleep(0.05)
        case "fails":
            raise Failure("model_unavailable", "Not now.")
        case "breaks":
            raise ValueError("broken")
        case "hangs":
            await asyncio.sleep(60)
        case _:
            return


async def agent(ctx: RunContext) -> Outcome:
    """Does what its message says, word by word: deterministic, as an agent must be."""
    for word in ctx.request.text.split():
        what, _, how = word.partition(":")
        async with ctx.sub("worker", what) as sub:
            await act(sub, what, how)
    return Outcome("done")


async def act(ctx: RunContext, what: str, how: str) -> None:
    match what:
        case "pay" | "look":
            await ctx.tool(what, {"ending": how}, purpose="try")
        case "model":
            try:
                await ctx.model(says(how), on_text=lambda piece: ctx.delta("a", piece))
            except Failure:
                await ctx.notice("model_fallback", "The model failed.")
        case "ask":
            try:
                await ctx.ask("Go on?", wait_seconds=float(how))
            except Failure:
                await ctx.think("Nobody is there.", 0.5)
        case "agent":
            await end_as(how)
        case _:
            await ctx.think(what, 0.5)


def script(rng: random.Random) -> str:
    words = [
        f"{rng.choice(('pay', 'look', 'model', 'think'))}:{rng.choice(ENDINGS)}"
        for _ in range(rng.randint(1, 5))
    ]
    if rng.random() < 0.15:
        words.insert(rng.randint(0, len(words)), f"ask:{rng.choice((0.5, 2, 60))}")
    if rng.random() < 0.1:
        words.append(f"agent:{rng.choice(ENDINGS)}")
    return " ".join(words)


@dataclass
class Aftermath:
    """What the storm has left."""

    runs: int
    statuses: dict[str, int]
    terminal_events: Tally[int]
    latest_seconds: float
    gaps: int
    paid_twice: int
    tasks_left: int
    files_left: int
    seconds: float


async def storm(path: Path, runs: int, seed: int) -> Aftermath:
    """Let them loose and wait for the last end."""
    begun, rng, files = time.monotonic(), random.Random(seed), open_files()
    weather = Storm(rng)

    def wrap(inner: Any) -> FaultyDatabase:
        def fails(n: int) -> bool:
            return n > 1 and rng.random() < FAILING_WRITES

        return FaultyDatabase(FaultyDatabase(inner, fails, after=True), fails, after=False)

    limits = Limits(AT_ONCE, AT_ONCE, RUN_SECONDS)
    async with world(
        path, {"it": agent}, weather.tools(), wrap=wrap, limits=limits, model=Moody()
    ) as w:
        await w.begin()
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(people(w, rng, runs))
            answering = tasks.create_task(answer(w, rng))
            while not asking.done() or await still_open(w):
                async with w.working():
                    await asyncio.sleep(LIVES_SECONDS)
            answering.cancel()
        found = await w.database.read(SERVER, aftermath)
    return Aftermath(
        **found,
        paid_twice=sum(count > 1 for count in weather.paid.values()),
        tasks_left=len(asyncio.all_tasks()) - 1,
        files_left=max(0, open_files() - files),
        seconds=round(time.monotonic() - begun, 1),
    )


async def people(w: World, rng: random.Random, runs: int) -> None:
    """Ask, double-text and stop, until there are so many runs."""
    count = 0
    threads: list[tuple[UserContext, str]] = []
    while count < runs:
        user = UserContext("acme", f"user{rng.randrange(100)}", "s1")
        old = rng.choice(threads) if threads and rng.random() < 0.3 else None
        mine = old if old and old[0] == user else None
        payload = ChatPayload(
            script(rng), mine[1] if mine else None, if_busy=rng.choice(list(IfBusy))
        )
        receipt = await asked(w, user, Chat(w.ids.new("m"), payload))
        if receipt is None:
            continue
        count += 1
        threads = [*threads[-20:], (user, receipt.thread_id)]
        if rng.random() < 0.1:
            await tolerated(w, user, StopAgent(w.ids.new("m"), StopPayload(receipt.run_id)))
        if await still_open(w) > 3 * AT_ONCE:
            await asyncio.sleep(0.1)


async def asked(w: World, user: UserContext, command: Chat) -> Receipt | None:
    """Send a message until it is taken or refused: a fault may have come after the commit."""
    while True:
        try:
            return await w.router.accept(user, command)
        except Conflict:
            return None
        except (Unavailable, LimitExceeded):
            await asyncio.sleep(0.02)


async def answer(w: World, rng: random.Random) -> None:
    """Answer or stop, now and then, what waits."""
    while True:
        await asyncio.sleep(0.2)
        for run_id, request_id, user_id in await w.database.read(SERVER, waiting):
            user = UserContext("acme", user_id, "s1")
            said = AnswerInput(w.ids.new("m"), AnswerPayload(run_id, request_id, "yes"))
            stop = StopAgent(w.ids.new("m"), StopPayload(run_id))
            await tolerated(w, user, rng.choice((said, said, stop)))


async def tolerated(w: World, user: UserContext, command: Any) -> None:
    """Send a command that may come too late, or meet a fault."""
    try:
        await w.router.accept(user, command)
    except TidingsError:
        return


async def still_open(w: World) -> int:
    async def work(tx: Transaction) -> int:
        return int((await tx.execute("select count(*) from runs where state <> 'ended'"))[0][0])

    return await w.database.read(SERVER, work)


async def waiting(tx: Transaction) -> list[tuple[Any, ...]]:
    return await tx.execute("select run_id, request_id, user_id from pauses limit 50")


async def aftermath(tx: Transaction) -> dict[str, Any]:
    marks = ", ".join("?" * len(TERMINAL))
    ends = await tx.execute(
        "select r.status, r.ended_at - r.deadline_at, (select count(*) from events e"
        f" where e.run_id = r.run_id and e.type in ({marks})) from runs r",
        *TERMINAL,
    )
    gaps = await tx.execute(
        'select stream from events group by stream having count(*) <> max("offset")'
    )
    left = await tx.execute(
        "select (select count(*) from pauses) + (select count(*) from reservations)"
    )
    return {
        "runs": len(ends),
        "statuses": dict(Tally(status for status, _, _ in ends)),
        "terminal_events": Tally(count for _, _, count in ends),
        "latest_seconds": round(max(late for _, late, _ in ends), 3),
        "gaps": len(gaps) + left[0][0],
    }


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def main() -> None:
    runs, seed = (int(a) for a in (*sys.argv[1:], "10000", "1")[:2])
    with tempfile.TemporaryDirectory() as folder:
        print(asyncio.run(storm(Path(folder), runs, seed)))


if __name__ == "__main__":
    main()
