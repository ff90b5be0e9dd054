"""What authors test their agents with: a rehearsal in this process, and a crash at every write.

Everything is as on a server of one's own, on its embedded defaults in an empty folder; the model
says what is written for it, the clock stands still, and nothing outlives the call.
"""

import asyncio
import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import msgspec

from tidings.app import Around, build
from tidings.authoring import (
    App,
    Effect,
    Failure,
    ModelFault,
    ModelReply,
    ModelRequest,
    ToolCall,
    ToolContext,
    ToolResult,
)
from tidings.domain.commands import (
    AnswerInput,
    AnswerPayload,
    Approve,
    ApprovePayload,
    Receipt,
    StartAgent,
    StartPayload,
)
from tidings.domain.context import Scope, UserContext
from tidings.domain.events import TERMINAL, Event, EventType, thread_stream
from tidings.models.port import OnText
from tidings.runs.port import Agent
from tidings.settings import Settings
from tidings.storage.warm.port import Database, T, Work
from tidings.tools.port import Tool

AUTHOR = UserContext("default", "author", "rehearsal")
AGENT = "rehearsed"
REHEARSAL_SECONDS = 60.0
"""How long a run may take, and how long it is waited for."""


class FixedClock:
    """Stands where it was set; it may be moved."""

    def __init__(self, time: float = 1_700_000_000.0) -> None:
        self.time = time

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


class Script:
    """A model that gives the n-th request the n-th reply; `requests` are what it was asked.

    After a crash it goes on where the run does: what is on record is not asked for again.
    """

    def __init__(self, *replies: ModelReply | ModelFault) -> None:
        self.requests: list[ModelRequest] = []
        self._replies = replies
        self._next = 0

    @property
    def name(self) -> str:
        return "script"

    def go_on_at(self, number: int) -> None:
        """Give the reply of this number next; 0 is the first."""
        self._next = number

    async def respond(self, request: ModelRequest, on_text: OnText) -> ModelReply:
        """Return the next reply.

        Raises:
            ModelFault: it was written so.
            Failure: `script_ended`: no reply is left.
        """
        number, self._next = self._next, self._next + 1
        self.requests.append(request)
        if number >= len(self._replies):
            raise Failure("script_ended", f"The script has no reply for request {number + 1}.")
        reply = self._replies[number]
        if isinstance(reply, ModelFault):
            raise reply
        if request.schema is None and reply.text:
            await on_text(reply.text)
        calls = [
            msgspec.structs.replace(call, id=f"call_{number}_{place}")
            for place, call in enumerate(reply.calls)
        ]
        return msgspec.structs.replace(reply, calls=tuple(calls))


def says(text: str) -> ModelReply:
    """Return the reply that is this text."""
    return ModelReply("script", text)


def gives(value: Any) -> ModelReply:
    """Return the reply that is this value, for a request with a schema."""
    return ModelReply("script", value=value)


def call(tool: str, **arguments: Any) -> ToolCall:
    """Return a call of a tool, for `wants`."""
    return ToolCall("", tool, arguments)


def wants(*calls: ToolCall) -> ModelReply:
    """Return the reply that makes these calls."""
    return ModelReply("script", calls=calls)


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
    """What a run has told, to its end, and its report as JSON, if it has one."""

    events: tuple[Event, ...]
    report: bytes | None = None

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


def rehearse(rehearsal: Rehearsal) -> Story:
    """Return what the run tells, from its beginning to its end."""
    with TemporaryDirectory(prefix="tidings-") as folder:
        story, _ = asyncio.run(_lived(Path(folder), rehearsal, MortalStore()))
    assert story is not None  # noqa: S101 - nothing ends it before
    return story


def crash_everywhere(make: Callable[[], Rehearsal]) -> list[Crash]:
    """Let the process die before and after each write of the run, and go on in another.

    `make` makes everything anew, so that what tools did can be counted. Return what each crash came
    to, for what only the author can know.

    Raises:
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


class MortalStore:
    """A database that dies with its process at one of the user's writes; the dead do no more."""

    def __init__(self, at: int = 0, *, after: bool = False) -> None:
        self.died = asyncio.Event()
        self.counting = False
        self._at = at
        self._after = after
        self._writes = 0
        self._inner: Database | None = None

    def around(self, inner: Database) -> Database:
        """Stand before a database."""
        self._inner = inner
        return self

    async def write(self, scope: Scope, work: Work[T]) -> T:
        self._check()
        if self.counting and isinstance(scope, UserContext):
            self._writes += 1
            if self._writes == self._at:
                if self._after:
                    await self._there.write(scope, work)
                self.died.set()
                self._check()
        return await self._there.write(scope, work)

    async def read(self, scope: Scope, work: Work[T]) -> T:
        self._check()
        return await self._there.read(scope, work)

    def _check(self) -> None:
        if self.died.is_set():
            raise asyncio.CancelledError

    @property
    def _there(self) -> Database:
        assert self._inner is not None  # noqa: S101 - `around` comes first
        return self._inner


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


async def _lived(
    folder: Path, rehearsal: Rehearsal, store: MortalStore
) -> tuple[Story | None, int]:
    """Live through one process; return the story, if it came to its end, and replies on record."""
    around = Around(rehearsal.clock, store.around)
    settings = Settings(data_dir=folder, run_seconds=REHEARSAL_SECONDS)
    app = build(settings, model=rehearsal.model, around=around)
    app.agents.register(AGENT, "The agent that is rehearsed.", rehearsal.agent)
    for tool in rehearsal.tools:
        app.tools.add(tool)
    try:
        await app.begin()
        async with app.running(), asyncio.timeout(REHEARSAL_SECONDS), asyncio.TaskGroup() as tasks:
            telling = tasks.create_task(_told(app, rehearsal, store))
            dying = tasks.create_task(store.died.wait())
            await asyncio.wait({telling, dying}, return_when=asyncio.FIRST_COMPLETED)
            dying.cancel()
            if store.died.is_set():
                telling.cancel()
        if store.died.is_set():
            return None, await app.replies_recorded(AUTHOR)
        return telling.result(), 0
    finally:
        await app.close()


async def _told(app: App, rehearsal: Rehearsal, store: MortalStore) -> Story:
    services = app.services
    asked = StartAgent("rehearsal", StartPayload(rehearsal.text, AGENT))
    receipt = await services.router.accept(AUTHOR, asked)
    store.counting = True
    woken, events = asyncio.Event(), list[Event]()
    stream = thread_stream(receipt.thread_id)
    follower = await services.feed.follow(AUTHOR, stream, "0", woken.set)
    try:
        while not events or events[-1].type not in TERMINAL:
            while follower.behind:
                read = await follower.read()
                events += [msgspec.json.decode(frame, type=Event) for _, frame, _ in read]
            for reply in _unanswered(events, receipt, rehearsal.person):
                await services.router.accept(AUTHOR, reply)
            if not events or events[-1].type not in TERMINAL:
                await woken.wait()
                woken.clear()
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
