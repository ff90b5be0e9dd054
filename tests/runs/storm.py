"""Many runs with random faults: of agents, tools, models, the store, the worker, and of people.

`python -m tests.runs.storm [RUNS] [SEED]` prints what it found; `test_storm.py` does fewer.
"""

import asyncio
import json
import os
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
    Approve,
    ApprovePayload,
    Chat,
    ChatPayload,
    IfBusy,
    Receipt,
    StopAgent,
    StopPayload,
)
from tidings.domain.context import SERVER, UserContext
from tidings.domain.errors import Conflict, Failure, LimitExceeded, TidingsError, Unavailable
from tidings.domain.events import TERMINAL, EventType
from tidings.domain.facts import ToolResult
from tidings.domain.permissions import Effect
from tidings.domain.runs import Outcome
from tidings.models.port import ModelReply, ModelRequest, OnText
from tidings.runs.context import RunContext
from tidings.runs.queue import Limits
from tidings.runs.rulings import ToolRequest
from tidings.storage.warm.port import Transaction
from tidings.tools.port import Tool, ToolContext, tool

RUN_SECONDS = 4.0
LATE_SECONDS_MAX = 5.0
FAILING_WRITES = 0.004
AT_ONCE = 150
GROWN_MIB_MAX = 24
"""From a third of the storm on: before it, caches fill."""
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

        @tool(effect=Effect.READ, deadline_seconds=1.0)
        async def fetch(ctx: ToolContext, ending: str) -> ToolResult:
            """Fetch what somebody else has written, after which payments need leave."""
            await end_as(ending)
            return ToolResult("It came from outside.")

        return pay, look, fetch


class Moody(ScriptedModel):
    """Ends as the request says."""

    async def respond(self, request: ModelRequest, on_text: OnText) -> ModelReply:
        await end_as(request.messages[-1].text)
        return await super().respond(request, on_text)


ENDINGS = ("well", "well", "well", "slow", "fails", "away", "breaks", "hangs")


async def end_as(ending: str) -> None:
    match ending:
        case "slow":
            await asyncio.sleep(0.05)
        case "fails":
            raise Failure("model_unavailable", "Not now.")
        case "away":
            raise Unavailable("shelf_away", "Not now.")
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
        case "pay" | "look" | "fetch":
            await ctx.tool(what, {"ending": how}, purpose="try")
        case "reply":
            calls = [call.split("-") for call in how.split(",")]
            await ctx.tools([ToolRequest(name, {"ending": end}, "try") for name, end in calls])
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
    if rng.random() < 0.4:
        calls = [
            f"{rng.choice(('pay', 'pay', 'look', 'look', 'look', 'fetch'))}-{rng.choice(ENDINGS)}"
            for _ in range(rng.randint(2, 12))
        ]
        words.insert(rng.randint(0, len(words)), f"reply:{','.join(calls)}")
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
    leaves_asked: int
    paid_twice: int
    tasks_left: int
    files_left: int
    processes_left: int
    memory_grown_mib: float
    seconds: float

    def wrong(self) -> list[str]:
        """Return what is not as it must be."""
        expected = {
            "each run has one end": self.terminal_events == {1: self.runs},
            "in its time": self.latest_seconds <= LATE_SECONDS_MAX,
            "of every kind": {"completed", "failed", "cancelled"} <= self.statuses.keys(),
            "no gaps, nothing left in the store": self.gaps == 0,
            "some asked for leave": self.leaves_asked > 0,
            "no payment twice": self.paid_twice == 0,
            "no task left": self.tasks_left == 0,
            "no file or socket left": self.files_left == 0,
            "no process left": self.processes_left == 0,
            "memory is flat": self.memory_grown_mib <= GROWN_MIB_MAX,
        }
        return [what for what, holds in expected.items() if not holds]


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
        before = processes()  # such as the store's
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(people(w, rng, runs))
            answering = tasks.create_task(answer(w, rng))
            memory: list[float] = []
            while not asking.done() or await still_open(w):
                async with w.working():
                    await asyncio.sleep(LIVES_SECONDS)
                memory.append(memory_mib())
            answering.cancel()
        found = await w.database.read(SERVER, aftermath)
    return Aftermath(
        **found,
        paid_twice=sum(count > 1 for count in weather.paid.values()),
        tasks_left=len(asyncio.all_tasks()) - 1,
        files_left=max(0, open_files() - files),
        processes_left=processes() - before,
        memory_grown_mib=round(memory[-1] - memory[len(memory) // 3], 1),
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
        for run_id, request_id, user_id, asked in await w.database.read(SERVER, waiting):
            user = UserContext("acme", user_id, "s1")
            stop = StopAgent(w.ids.new("m"), StopPayload(run_id))
            said: AnswerInput | Approve
            if digest := json.loads(asked).get("arguments_hash"):
                word: Any = rng.choice(("allow", "deny"))
                leave = ApprovePayload(run_id, request_id, word, digest)
                said = Approve(w.ids.new("m"), leave)
            else:
                said = AnswerInput(w.ids.new("m"), AnswerPayload(run_id, request_id, "yes"))
            await tolerated(w, user, rng.choice((said, said, said, stop)))


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
    return await tx.execute("select run_id, request_id, user_id, asked from pauses limit 50")


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
    asked = await tx.execute(
        "select count(*) from events where type = ?", EventType.APPROVAL_REQUIRED
    )
    return {
        "runs": len(ends),
        "statuses": dict(Tally(status for status, _, _ in ends)),
        "terminal_events": Tally(count for _, _, count in ends),
        "latest_seconds": round(max(late for _, late, _ in ends), 3),
        "gaps": len(gaps) + left[0][0],
        "leaves_asked": asked[0][0],
    }


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def processes() -> int:
    return len(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def memory_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    runs, seed = (int(a) for a in (*sys.argv[1:], "10000", "1")[:2])
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(storm(Path(folder), runs, seed))
    print(found)
    if wrong := found.wrong():
        sys.exit(f"not as it must be: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
