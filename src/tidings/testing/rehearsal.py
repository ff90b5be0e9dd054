"""A rehearsal of an agent in this process, and a crash of it at every write.

Everything is as on a server of one's own, on its embedded defaults in an empty folder; the model
says what is written for it, the clock stands still, and nothing outlives the call.
"""

import asyncio
import dataclasses
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import msgspec

from tidings.app import Around, build
from tidings.authoring import App, Effect, Outcome, RunContext, ToolContext, ToolResult
from tidings.domain.commands import (
    AnswerInput,
    AnswerPayload,
    Approve,
    ApprovePayload,
    Receipt,
    StartAgent,
    StartPayload,
)
from tidings.domain.context import UserContext
from tidings.domain.events import TERMINAL, Event, EventType, thread_stream
from tidings.runs.execution import astray
from tidings.runs.port import Agent
from tidings.runs.worker import single
from tidings.settings import Settings
from tidings.testing.mortal import FixedClock, MortalStore
from tidings.testing.script import Script
from tidings.tools.port import Tool

AUTHOR = UserContext("default", "author", "rehearsal")
AGENT = "rehearsed"
REHEARSAL_SECONDS = 60.0
"""How long a run may take, and how long it is waited for."""
END_SECONDS = 5.0
"""How long the end of a run is waited for when its time is up."""

Person = Callable[[Event], Any]
"""Answers what a run asks: `input_required` by a value, `approval_required` by True or False."""


def nobody(asked: Event) -> Any:
    """Answer nothing.

    Raises:
        AssertionError: the run asks.
    """
    raise AssertionError(f"the run asks, and nobody answers: {asked.payload}")


@dataclasses.dataclass(frozen=True)
class Rehearsal:
    """An agent, what it is asked, and all that it works with: made anew for every rehearsal."""

    agent: Agent
    text: str = "go"
    model: Script = dataclasses.field(default_factory=Script)
    tools: Sequence[Tool] = ()
    person: Person = nobody
    clock: FixedClock = dataclasses.field(default_factory=FixedClock)


@dataclasses.dataclass(frozen=True)
class Story:
    """What a run has told, to its end, and its report as JSON, if it has one.

    `ahead`: steps on record that its agent did not come to when it ran again.
    """

    events: tuple[Event, ...]
    report: bytes | None = None
    ahead: tuple[str, ...] = ()

    @property
    def end(self) -> Event:
        """The terminal event."""
        return self.events[-1]

    @property
    def status(self) -> str:
        """How it ended: `completed`, `degraded`, `failed` or `cancelled`."""
        return str(self.end.payload.get("status") or self.end.type.removeprefix("agent_"))

    @property
    def answer(self) -> str:
        """The answer, or what there is of one."""
        payload = self.end.payload
        return str(payload.get("answer") or payload.get("partial_answer") or "")

    def of(self, type_: str) -> list[dict[str, Any]]:
        """Return the payloads of all events of a type, in order."""
        return [event.payload for event in self.events if event.type == type_]


@dataclasses.dataclass(frozen=True)
class Crash:
    """A rehearsal whose process died at a write, and what the run came to in the next process.

    `at` counts the writes of the run from 1; `after` says that it was committed, and nobody heard.
    """

    at: int
    after: bool
    rehearsal: Rehearsal
    story: Story


class Astray(AssertionError):
    """An agent that ran again, after a crash or a wait, took another way than before.

    `steps` are those on record that it did not come to.
    """

    def __init__(self, steps: Sequence[str], what: str) -> None:
        super().__init__(f"{what}: {astray(steps)}")
        self.steps = tuple(steps)


def rehearse(rehearsal: Rehearsal) -> Story:
    """Return what the run tells, from its beginning to its end.

    Raises:
        Astray: it waited for a person, and the agent took another way afterwards.
    """
    with TemporaryDirectory(prefix="tidings-") as folder:
        story, _ = asyncio.run(_lived(Path(folder), rehearsal, MortalStore()))
    assert story is not None  # noqa: S101 - nothing ends it before
    if story.ahead:
        raise Astray(story.ahead, "waited for a person")
    return story


def crash_everywhere(make: Callable[[], Rehearsal]) -> list[Crash]:
    """Let the process die before and after each write of the run, and go on in another.

    `make` makes everything anew, so that what tools did can be counted. Return what each crash came
    to, for what only the author can know.

    Raises:
        Astray: after a crash the agent took another way, and so may have done things twice.
        AssertionError: a run did not end once, or a tool that writes was called twice for one call.
    """
    crashes: list[Crash] = []
    for at in itertools.count(1):
        for after in (False, True):
            crash = _crashed(make(), at, after=after)
            if crash is None:
                return crashes
            crashes.append(crash)
    raise AssertionError("a run has an end")


def _crashed(rehearsal: Rehearsal, at: int, *, after: bool) -> Crash | None:
    """Return what a crash came to; None when the run has fewer writes."""
    made: Counter[str] = Counter()
    counted = dataclasses.replace(
        rehearsal, tools=[_counted(tool, made) for tool in rehearsal.tools]
    )
    where = f"{'after' if after else 'before'} write {at}"
    with TemporaryDirectory(prefix="tidings-") as folder:
        story, recorded = asyncio.run(_lived(Path(folder), counted, MortalStore(at, after=after)))
        if story is not None:
            return None
        rehearsal.model.go_on_at(recorded)
        story, _ = asyncio.run(_lived(Path(folder), counted, MortalStore()))
    assert story is not None  # noqa: S101 - nothing ends it before
    if story.ahead:
        raise Astray(story.ahead, f"died {where}")
    ends = [event.type for event in story.events if event.type in TERMINAL]
    if len(ends) != 1 or story.end.payload.get("code") == "internal":
        raise AssertionError(f"died {where}, the run ended as {ends}: {story.end.payload}")
    twice = [name for name, count in made.items() if count > 1]
    if twice:
        raise AssertionError(f"died {where}, and called twice what writes: {', '.join(twice)}")
    return Crash(at, after, rehearsal, story)


def _counted(tool: Tool, made: Counter[str]) -> Tool:
    """Return a tool whose calls are counted, if it must not be called twice for one."""
    if tool.effect is not Effect.WRITE:
        return tool

    async def counting(context: ToolContext, values: Any) -> ToolResult:
        made[f"{tool.name} ({context.call_id})"] += 1
        return await tool.call(context, values)

    return dataclasses.replace(tool, call=counting)


def _watched(agent: Agent, ahead: list[str]) -> Agent:
    """Return an agent that leaves, where its last attempt ends, what it did not come to."""

    async def watched(ctx: RunContext) -> Outcome:
        try:
            return await agent(ctx)
        finally:
            ahead[:] = ctx.ahead

    return watched


async def _lived(
    folder: Path, rehearsal: Rehearsal, store: MortalStore
) -> tuple[Story | None, int]:
    """Live through one process; return the story, if it came to its end, and replies on record."""
    around = Around(rehearsal.clock, store.around)
    settings = Settings(data_dir=folder, run_seconds=REHEARSAL_SECONDS)
    app = build(settings, model=rehearsal.model, around=around)
    ahead: list[str] = []
    app.agents.register(AGENT, "The agent that is rehearsed.", _watched(rehearsal.agent, ahead))
    for tool in rehearsal.tools:
        app.tools.add(tool)
    try:
        await app.begin()
        async with _fault_by_itself(), app.running(), asyncio.TaskGroup() as tasks:
            telling = tasks.create_task(_told(app, rehearsal, store))
            dying = tasks.create_task(store.died.wait())
            await asyncio.wait({telling, dying}, return_when=asyncio.FIRST_COMPLETED)
            dying.cancel()
            if store.died.is_set():
                telling.cancel()
        if store.died.is_set():
            return None, await app.replies_recorded(AUTHOR)
        return dataclasses.replace(telling.result(), ahead=tuple(ahead)), 0
    finally:
        await app.close()


@asynccontextmanager
async def _fault_by_itself() -> AsyncIterator[None]:
    """Let what fails a test out of the groups of the tasks that it was raised in."""
    try:
        yield
    except BaseExceptionGroup as group:
        fault = single(group)
        if not isinstance(fault, AssertionError):
            raise
        raise fault from None


async def _told(app: App, rehearsal: Rehearsal, store: MortalStore) -> Story:
    services = app.services
    asked = StartAgent("rehearsal", StartPayload(rehearsal.text, AGENT))
    receipt = await services.router.accept(AUTHOR, asked)
    store.counting = True
    woken, events = asyncio.Event(), list[Event]()
    stream = thread_stream(receipt.thread_id)
    follower = await services.feed.follow(AUTHOR, stream, "0", woken.set)
    try:
        async with asyncio.timeout(REHEARSAL_SECONDS + END_SECONDS):
            while not events or events[-1].type not in TERMINAL:
                while follower.behind:
                    read = await follower.read()
                    events += [msgspec.json.decode(frame, type=Event) for _, frame, _ in read]
                for reply in _unanswered(events, receipt, rehearsal.person):
                    await services.router.accept(AUTHOR, reply)
                if not events or events[-1].type not in TERMINAL:
                    await woken.wait()
                    woken.clear()
    except TimeoutError as error:
        last = f"{events[-1].type} {events[-1].payload}" if events else "nothing"
        raise AssertionError(f"the run has no end; the last that it told is {last}") from error
    finally:
        follower.close()
    report_id = events[-1].payload.get("report_id")
    document = report_id and await services.reports.document(AUTHOR, report_id, "json")
    return Story(tuple(events), document.body if document else None)


def _unanswered(
    events: list[Event], receipt: Receipt, person: Person
) -> Iterator[AnswerInput | Approve]:
    """Yield answers to what the run asks; a question has one, however often it is sent."""
    settled = {e.payload["request_id"] for e in events if e.type == EventType.REQUEST_SETTLED}
    for event in events:
        asked = event.payload
        if event.type == EventType.INPUT_REQUIRED and asked["request_id"] not in settled:
            answer = AnswerPayload(receipt.run_id, asked["request_id"], person(event))
            yield AnswerInput(f"answer-{asked['request_id']}", answer)
        if event.type == EventType.APPROVAL_REQUIRED and asked["call_id"] not in settled:
            said: Literal["allow", "deny"] = "allow" if person(event) else "deny"
            leave = ApprovePayload(receipt.run_id, asked["call_id"], said, asked["arguments_hash"])
            yield Approve(f"leave-{asked['call_id']}", leave)
