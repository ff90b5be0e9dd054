"""A run with a side effect, killed with SIGKILL at a chosen point, and taken up by a new process.

`python -m tests.crash.program FOLDER` tries every point and leaves what it saw in FOLDER, one
folder each. Processes are forked from one that has everything imported, so that many can die.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from tests.fakes.models import ScriptedModel, says
from tests.world import ANA, World, world
from tidings.domain.events import TERMINAL, thread_stream
from tidings.domain.facts import ToolResult
from tidings.domain.runs import Outcome
from tidings.runs.context import RunContext
from tidings.storage.warm.port import Database, T, Work
from tidings.tools.port import Tool, ToolContext, tool

POINTS_MAX = 40
PLACES = ("before the commit", "after the commit", "before the effect", "after the effect")
EFFECTS, SEEN, STORY = "effects", "seen", "story"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DeadlyDatabase:
    """Kills its process at the n-th write, before or after the commit."""

    def __init__(self, inner: Database, number: int, place: str) -> None:
        self._inner = inner
        self._number = number
        self._place = place
        self._writes = 0

    async def write(self, work: Work[T]) -> T:
        self._writes += 1
        chosen = self._writes == self._number
        if chosen and self._place == "before the commit":
            die()
        result = await self._inner.write(work)
        if chosen and self._place == "after the commit":
            die()
        return result

    async def read(self, work: Work[T]) -> T:
        return await self._inner.read(work)


def paying(folder: Path, place: str) -> Tool:
    """Return a tool whose target counts: a line per payment, on the disk before it returns."""

    @tool(name="pay")
    async def pay(ctx: ToolContext) -> ToolResult:
        """Pay, which nobody wants to do twice."""
        if place == "before the effect":
            die()
        append(folder / EFFECTS, ctx.idempotency_key.encode())
        if place == "after the effect":
            die()
        return ToolResult("It is paid.")

    return pay


async def payer(ctx: RunContext) -> Outcome:
    await ctx.plan("Pay and say so.", ["pay", "say"])
    await ctx.think("First I pay.", 0.1)
    async with ctx.sub("cashier", "Pay.") as cashier:
        paid = await cashier.tool("pay", {}, purpose="to have it paid")
        await cashier.complete("It was tried.")
    await ctx.model(says("done"), on_text=lambda piece: ctx.delta("answer", piece))
    return Outcome("paid" if paid.error is None else paid.error.code)


async def live(folder: Path, number: int, place: str, seen: Path) -> None:
    """Be one process: take up what is there, repeat the command, watch the run to its end."""

    def wrap(inner: Database) -> Database:
        return DeadlyDatabase(inner, number, place)

    tools = [paying(folder, place)]
    async with world(folder, {"payer": payer}, tools, wrap=wrap, model=ScriptedModel()) as w:
        await w.begin()
        async with w.working():
            receipt = await w.ask("pay, please", id="cmd-1")
            await watch(w, thread_stream(receipt.thread_id), seen)


async def watch(w: World, stream: str, seen: Path) -> None:
    """Keep every frame as a client hears it, until the terminal one."""
    woken = asyncio.Event()
    follower = await w.feed.follow(ANA, stream, "0", woken.set)
    while True:
        while follower.behind:
            for _, frame, _ in await follower.read():
                append(seen, frame)
                if json.loads(frame)["type"] in TERMINAL:
                    follower.close()
                    return
        await woken.wait()
        woken.clear()


def append(path: Path, line: bytes) -> None:
    with path.open("ab") as file:
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())


def in_a_process(act: Callable[[], None]) -> int:
    """Return how a forked process ended that did this."""
    child = os.fork()
    if child == 0:
        act()
        os._exit(0)
    return os.waitpid(child, 0)[1]


def try_point(folder: Path, number: int, place: str) -> bool:
    """Return whether the process was killed there; a second one then ended its run."""
    folder.mkdir(parents=True)
    first = in_a_process(lambda: asyncio.run(live(folder, number, place, folder / SEEN)))
    if not os.WIFSIGNALED(first):
        return False
    assert os.WTERMSIG(first) == signal.SIGKILL
    second = in_a_process(lambda: asyncio.run(live(folder, 0, "", folder / STORY)))
    assert second == 0, f"the run was not taken up: {folder}"
    return True


def main(root: Path) -> None:
    for place in PLACES:
        last = 1 if "effect" in place else POINTS_MAX
        for number in range(1, last + 1):
            if not try_point(root / place / f"{number:02d}", number, place):
                break


if __name__ == "__main__":
    main(Path(sys.argv[1]))
