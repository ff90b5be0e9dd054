"""A user asks: the run is queued, in its thread, and the thread's stream says so."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from tidings.domain.commands import Ask, IfBusy
from tidings.domain.context import UserContext
from tidings.domain.errors import Conflict, NotFound
from tidings.domain.events import Draft, EventType
from tidings.domain.runs import CancelReason, Run, RunState
from tidings.events import activity
from tidings.router import threads
from tidings.router.intake import ChosenAgent
from tidings.router.receipts import Done
from tidings.runs import queue
from tidings.storage.warm.objects import Kind, fetch_owned
from tidings.storage.warm.port import Transaction


class ThreadSeen(NamedTuple):
    """What its messages do that come while it is busy, and what the last one was about."""

    if_busy: IfBusy
    files: tuple[str, ...]


EVENT_IDS = 5
"""Of one question: its thread, that the thread moves, the message, two notices."""


@dataclass(frozen=True, slots=True)
class Asking:
    """Queue a run, and say so.

    `notices` are told behind the message. `over_all` is how many runs there are of all users, as
    `queue.working` has told; `event_ids` are EVENT_IDS.
    """

    ask: Ask
    run: Run
    notices: list[dict[str, Any]]
    limits: queue.Limits
    over_all: int
    event_ids: tuple[str, ...]

    async def look(self, tx: Transaction) -> tuple[ThreadSeen | None, queue.Ahead]:
        """Read the thread, and what is open before the run."""
        thread, ahead = await tx.together(
            _thread(tx, self.run.context, self.ask.thread_id),
            queue.ahead(tx, self.run.context, self.run.thread_id),
        )
        return thread, ahead

    async def act(self, tx: Transaction, seen: tuple[ThreadSeen | None, queue.Ahead]) -> Done:
        """Begin or find the thread, make room in it, and queue the run with its first events."""
        (thread, ahead), (created_id, moved_id, *event_ids) = seen, self.event_ids
        run, before = await _placed(tx, self.run, self.ask, thread, created_id)
        if thread is not None and await _make_room(tx, run, self.ask.if_busy or thread.if_busy):
            ahead = await queue.ahead(tx, run.context, run.thread_id)
        wait = _wait(ahead.place(self.limits, self.over_all), self.limits.runs)
        drafts = _first_events(run, event_ids, [*wait, *self.notices])
        _, rooms = await tx.together(
            queue.add(tx, run), activity.make_room(tx, run, drafts, moved_id, before)
        )
        told = activity.fill(tx, run, rooms, RunState.QUEUED, now=run.created_at)
        return Done(run.run_id, run.thread_id, rooms.thread.head - len(drafts) + 1, (told,))


def notices_of(choice: ChosenAgent, wanted: str) -> list[dict[str, Any]]:
    """Return what the user is told of the choice of an agent."""
    if choice.notice == "agent_stands_in":
        message = f"{wanted} has failed often of late; {choice.agent} stands in for it."
        return [{"code": choice.notice, "message": message, "instead_of": wanted}]
    if choice.notice:
        message = f"{wanted} has failed often of late, and nobody stands in: this may fail too."
        return [{"code": choice.notice, "message": message}]
    return []


async def _thread(
    tx: Transaction, context: UserContext, thread_id: str | None
) -> ThreadSeen | None:
    """Return what is to be known of a thread; None: the user has no such thread."""
    if thread_id is None:
        return None
    try:
        (if_busy,), files = await tx.together(
            fetch_owned(tx, context, Kind.THREAD, thread_id, "if_busy"),
            queue.latest_files(tx, context, thread_id),
        )
    except NotFound:
        return None
    return ThreadSeen(IfBusy(if_busy), files)


async def _placed(
    tx: Transaction, run: Run, ask: Ask, thread: ThreadSeen | None, event_id: str
) -> tuple[Run, list[Draft]]:
    """Add the thread if it is new, which is to be told before the run is.

    A question without files is about those asked of before.
    """
    await tx.together(*(fetch_owned(tx, run.context, Kind.FILE, id_, "1") for id_ in ask.files))
    if ask.thread_id is None:
        title = threads.title_of(ask.text)
        await threads.add(tx, run.context, run.thread_id, title, now=run.created_at)
        return run, [threads.created(run.thread_id, title, event_id)]
    if thread is None:
        raise NotFound
    request = msgspec.structs.replace(run.request, files=ask.files or thread.files)
    return msgspec.structs.replace(run, request=request), []


async def _make_room(tx: Transaction, run: Run, if_busy: IfBusy) -> bool:
    """Do with the thread's open runs what its next message demands; tell whether there were any."""
    if if_busy is IfBusy.ENQUEUE:
        return False
    found = await queue.open_runs(tx, run.thread_id)
    for open_run in found:
        if if_busy is IfBusy.REJECT:
            raise Conflict("thread_busy", "A run in this thread has not ended: wait, or stop it.")
        await queue.request_cancel(tx, run.context, open_run, CancelReason.INTERRUPTED)
    return bool(found)


def _first_events(run: Run, event_ids: list[str], notices: list[dict[str, Any]]) -> list[Draft]:
    """Return what the user hears at once: the message is here, and what is to be known of it."""
    said = {"text": run.request.text, "files": run.request.files, "agent": run.agent}
    told = [(EventType.MESSAGE_RECEIVED, said), *((EventType.NOTICE, n) for n in notices)]
    return [
        Draft(event_id, type_, payload, run_id=run.run_id, thread_id=run.thread_id)
        for event_id, (type_, payload) in zip(event_ids, told, strict=False)
    ]


def _wait(place: int, room: int) -> list[dict[str, Any]]:
    """Return what the user is told of why the run does not begin at once."""
    if not room:
        message = "Nobody is there to work on this now; it begins when somebody is."
        return [{"code": "no_worker", "message": message, "place": place}]
    if not place:
        return []
    return [{"code": "queued", "message": "Other runs come first.", "place": place}]
