"""A run that asks and then has a side effect, cut off at a chosen point, taken up by a new process.

`python -m tests.crash.program FOLDER kill` tries every point and leaves what it saw in FOLDER, one
folder each. With `stop` the process is not killed but halted, as by a paused machine, and goes on
when another has ended its run. Processes are forked from one that has everything imported, so that
many can die.
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
from tidings.domain.commands import AnswerInput, AnswerPayload
from tidings.domain.context import Scope
from tidings.domain.events import TERMINAL, thread_stream
from tidings.domain.facts import ToolResult
from tidings.domain.runs import Outcome
from tidings.runs.context import RunContext
from tidings.storage.warm.port import Database, T, Work
from tidings.tools.port import Tool, ToolContext, tool

POINTS_MAX = 40
PLACES = ("before the commit", "after the commit", "before the effect", "after the effect")
EFFECTS, SEEN, STORY = "effects", "seen", "story"


HOW = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


def die() -> None:
    os.kill(os.getpid(), HOW[(sys.argv[2:] or ["kill"])[0]])


class DeadlyDatabase:
    """Cuts its process off at the n-th write, before or after the commit.

    One write at a time: a process that is halted while it writes holds the file's lock.
    """

    def __init__(
        self, inner: Database, number: int, place: str, turn: asyncio.Lock | None = None
    ) -> None:
        self._turn = turn or asyncio.Lock()
        self._inner = inner
        self._number = number
        self._place = place
        self._writes = 0

    async def write(self, scope: Scope, work: Work[T]) -> T:
        async with self._turn:
            self._writes += 1
            chosen = self._writes == self._number
            if chosen and self._place == "before the commit":
                die()
            result = await self._inner.write(scope, work)
            if chosen and self._place == "after the commit":
                die()
            return result

    async def read(self, scope: Scope, work: Work[T]) -> T:
        return await self._inner.read(scope, work)


def paying(folder: Path, place: str, turn: asyncio.Lock) -> Tool:
    """Return a tool whose target counts: a line per payment, on the disk before it returns."""

    @tool(name="pay")
    async def pay(ctx: ToolContext) -> ToolResult:
        """Pay, which nobody wants to do twice."""
        async with turn:
            if place == "before the effect":
                die()
            append(folder / EFFECTS, ctx.idempotency_key.encode())
            if place == "after the effect":
                die()
        return ToolResult("It is paid.")

    return pay


async def payer(ctx: RunContext) -> Outcome:
    await ctx.plan("Pay and say so.", ["pay", "say"])
    await ctx.think("First I ask.", 0.1)
    assert await ctx.ask("Shall I pay?", {"type": "boolean"})
    async with ctx.sub("cashier", "Pay.") as cashier:
        paid = await cashier.tool("pay", {}, purpose="to have it paid")
        await cashier.complete("It was tried.")
    await ctx.model(says("done"), on_text=lambda piece: ctx.delta("answer", piece))
    return Outcome("paid" if paid.error is None else paid.error.code)


async def live(folder: Path, number: int, place: str, seen: Path) -> None:
    """Be one process: take up what is there, repeat the command, watch the run to its end."""
    turn = asyncio.Lock()

    def wrap(inner: Database) -> Database:
        return DeadlyDatabase(inner, number, place, turn)

    tools = [paying(folder, place, turn)]
    async with world(folder, {"payer": payer}, tools, wrap=wrap, model=ScriptedModel()) as w:
        await w.begin()
        async with w.working():
            receipt = await w.ask("pay, please", id="cmd-1")
            await watch(w, thread_stream(receipt.thread_id), seen)


async def watch(w: World, stream: str, seen: Path) -> None:
    """Keep every frame as a client hears it, until the terminal one; answer what is asked."""
    woken = asyncio.Event()
    follower = await w.feed.follow(ANA, stream, "0", woken.set)
    while True:
        while follower.behind:
            for _, frame, _ in await follower.read():
                append(seen, frame)
                event = json.loads(frame)
                if event["type"] == "input_required":
                    await say_yes(w, event["run_id"], event["payload"]["request_id"])
                if event["type"] in TERMINAL:
                    follower.close()
                    return
        await woken.wait()
        woken.clear()


async def say_yes(w: World, run_id: str, request_id: str) -> None:
    """Answer, as often as it is heard: the id is the same."""
    payload = AnswerPayload(run_id, request_id, value=True)
    await w.router.accept(ANA, AnswerInput("answer-1", payload))


def append(path: Path, line: bytes) -> None:
    with path.open("ab") as file:
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())


def process(act: Callable[[], None]) -> int:
    """Return the id of a forked process that does this."""
    child = os.fork()
    if child == 0:
        act()
        os._exit(0)
    return child


def in_a_process(act: Callable[[], None]) -> int:
    """Return how a forked process ended that did this."""
    return os.waitpid(process(act), 0)[1]


def try_point(folder: Path, number: int, place: str) -> bool:
    """Return whether the process was killed there; a second one then ended its run."""
    folder.mkdir(parents=True)
    first = process(lambda: asyncio.run(live(folder, number, place, folder / SEEN)))
    _, status = os.waitpid(first, os.WUNTRACED)
    if os.WIFEXITED(status):
        return False
    second = in_a_process(lambda: asyncio.run(live(folder, 0, "", folder / STORY)))
    assert second == 0, f"the run was not taken up: {folder}"
    if os.WIFSTOPPED(status):
        os.kill(first, signal.SIGCONT)
        assert os.waitpid(first, 0)[1] == 0, f"what was halted did not let go: {folder}"
    else:
        assert os.WTERMSIG(status) == signal.SIGKILL
    return True


def main(root: Path) -> None:
    for place in PLACES:
        last = 1 if "effect" in place else POINTS_MAX
        for number in range(1, last + 1):
            if not try_point(root / place / f"{number:02d}", number, place):
                break


if __name__ == "__main__":
    main(Path(sys.argv[1]))
