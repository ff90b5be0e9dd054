"""A run that asks and then has a side effect, cut off at a chosen point, taken up by a new process.

`python -m tests.crash.program FOLDER kill` tries every point and leaves what it saw in FOLDER, one
folder each. With `stop` the process is not killed but halted, as by a paused machine, and with
`stall` only its event loop is, while its threads go on; it goes on when another has ended its run.
Processes are forked from one that has everything imported, so that many can die.
"""

import asyncio
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

from tests.fakes.models import ScriptedModel, says
from tests.world import ANA, World, world
from tidings.domain.commands import AnswerInput, AnswerPayload
from tidings.domain.context import Scope
from tidings.domain.errors import Unavailable
from tidings.domain.events import TERMINAL, thread_stream
from tidings.domain.facts import ToolResult
from tidings.domain.permissions import Effect
from tidings.domain.runs import Outcome
from tidings.runs.context import RunContext
from tidings.runs.rulings import ToolRequest
from tidings.scheduling.port import Unscheduled
from tidings.storage.warm.port import Database, T, Work
from tidings.tools.port import Tool, ToolContext, tool

POINTS_MAX = 40
PLACES = (
    "before the commit",
    "after the commit",
    *(f"{when} {what}" for what in ("pay", "stamp", "look") for when in ("before", "after")),
)
EFFECTS, SEEN, STORY, STALLED, GO_ON = "effects", "seen", "story", "stalled", "go on"


def die(folder: Path) -> None:
    """Be cut off here; what is stalled or stopped goes on when another has ended the run."""
    match (sys.argv[2:] or ["kill"])[0]:
        case "stall":
            (folder / STALLED).touch()
            while not (folder / GO_ON).exists():
                time.sleep(0.005)
        case how:
            os.kill(os.getpid(), signal.SIGSTOP if how == "stop" else signal.SIGKILL)


class DeadlyDatabase:
    """Cuts its process off at the n-th write, before or after the commit.

    One write at a time: a process that is halted while it writes holds the file's lock.
    """

    def __init__(
        self, inner: Database, folder: Path, number: int, place: str, turn: asyncio.Lock
    ) -> None:
        self._turn = turn
        self._inner = inner
        self._folder = folder
        self._number = number
        self._place = place
        self._writes = 0

    async def write(self, scope: Scope, work: Work[T]) -> T:
        async with self._turn:
            self._writes += 1
            chosen = self._writes == self._number
            if chosen and self._place == "before the commit":
                die(self._folder)
            result = await self._inner.write(scope, work)
            if chosen and self._place == "after the commit":
                die(self._folder)
            return result

    async def read(self, scope: Scope, work: Work[T]) -> T:
        return await self._inner.read(scope, work)


def counting(folder: Path, place: str, turn: asyncio.Lock) -> list[Tool]:
    """Return tools whose target counts: a line per effect, on the disk before they return."""

    async def take_effect(what: str, ctx: ToolContext) -> ToolResult:
        async with turn:
            if place == f"before {what}":
                die(folder)
            append(folder / EFFECTS, f"{what} {ctx.idempotency_key}".encode())
            if place == f"after {what}":
                die(folder)
        return ToolResult("It is done.")

    @tool(effect=Effect.WRITE, trusted=True)
    async def pay(ctx: ToolContext) -> ToolResult:
        """Pay, which nobody wants to do twice."""
        return await take_effect("pay", ctx)

    @tool(effect=Effect.KEYED, trusted=True)
    async def stamp(ctx: ToolContext) -> ToolResult:
        """Stamp, once for each key."""
        return await take_effect("stamp", ctx)

    @tool(effect=Effect.READ, trusted=True)
    async def look(ctx: ToolContext) -> ToolResult:
        """Look, as often as one likes."""
        return await take_effect("look", ctx)

    return [pay, stamp, look]


REPLY = ("look", "pay", "stamp", "pay")
"""The calls of one reply."""


async def payer(ctx: RunContext) -> Outcome:
    await ctx.plan("Pay and say so.", ["pay", "say"])
    await ctx.think("First I ask.", 0.1)
    assert await ctx.ask("Shall I pay?", {"type": "boolean"})
    async with ctx.sub("cashier", "Pay.") as cashier:
        wanted = [ToolRequest(name, {}, "to have it done") for name in REPLY]
        ended = await cashier.tools(wanted)
        await cashier.complete("It was tried.")
    await ctx.model(says("done"), on_text=lambda piece: ctx.delta("answer", piece))
    return Outcome(" ".join(end.error.code if end.error else "ok" for end in ended))


async def live(folder: Path, number: int, place: str, seen: Path) -> None:
    """Be one process: take up what is there, repeat the command, watch the run to its end."""
    turn = asyncio.Lock()

    def wrap(inner: Database) -> Database:
        return DeadlyDatabase(inner, folder, number, place, turn)

    tools, looking = counting(folder, place, turn), Unscheduled()  # it counts writes of one process
    async with world(
        folder, {"payer": payer}, tools, wrap=wrap, model=ScriptedModel(), scheduler=looking
    ) as w:
        await w.begin()
        async with w.working():
            receipt = await served(lambda: w.ask("pay, please", id="cmd-1"))
            await watch(w, thread_stream(receipt.thread_id), seen)


async def served(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until there is an answer, as clients do: a busy store may refuse."""
    while True:
        with suppress(Unavailable):
            return await ask()


async def watch(w: World, stream: str, seen: Path) -> None:
    """Keep every frame as a client hears it, until the terminal one; answer what is asked."""
    woken = asyncio.Event()
    follower = await served(lambda: w.feed.follow(ANA, stream, "0", woken.set))
    while True:
        while follower.behind:
            for _, frame, _ in await served(follower.read):
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
        try:
            act()
        except BaseException:  # noqa: BLE001 - nothing of its parent's goes on here
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


def in_a_process(act: Callable[[], None]) -> int:
    """Return how a forked process ended that did this."""
    return os.waitpid(process(act), 0)[1]


def try_point(folder: Path, number: int, place: str) -> bool:
    """Return whether the process was cut off there; a second one then ended its run."""
    folder.mkdir(parents=True)
    first = process(lambda: asyncio.run(live(folder, number, place, folder / SEEN)))
    status = cut_off(first, folder)
    if status is not None and os.WIFEXITED(status):
        return False
    second = in_a_process(lambda: asyncio.run(live(folder, 0, "", folder / STORY)))
    assert second == 0, f"the run was not taken up: {folder}"
    if status is not None and os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    (folder / GO_ON).touch()
    os.kill(first, signal.SIGCONT)
    assert os.waitpid(first, 0)[1] == 0, f"what was halted did not let go: {folder}"
    return True


def cut_off(child: int, folder: Path) -> int | None:
    """Wait until a process has ended, is halted (its status), or stalls (None)."""
    while not (folder / STALLED).exists():
        done, status = os.waitpid(child, os.WUNTRACED | os.WNOHANG)
        if done:
            return status
        time.sleep(0.005)
    return None


def at_once(acts: Iterable[Callable[[], None]]) -> None:
    """Do things in a forked process each, most of whose time is waiting; all must succeed."""
    for child in [process(act) for act in acts]:
        assert os.waitpid(child, 0)[1] == 0


def try_place(root: Path, place: str) -> None:
    last = POINTS_MAX if place.endswith("commit") else 1
    for number in range(1, last + 1):
        if not try_point(root / place / f"{number:02d}", number, place):
            break


def main(root: Path) -> None:
    at_once(partial(try_place, root, place) for place in PLACES)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
