"""What moves in a user's threads, told on the user's own stream: only where to look."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from tidings.domain.events import Draft, EventType, thread_stream, user_stream
from tidings.domain.runs import Run, RunState
from tidings.events import log
from tidings.events.log import Room
from tidings.storage.warm.port import Transaction


class Rooms(NamedTuple):
    """Room for a run's events in its thread, and for the word of it on the user's own stream."""

    thread: Room
    own: Room


async def append(
    tx: Transaction, run: Run, drafts: list[Draft], state: RunState, moved_id: str, *, now: float
) -> int:
    """Append to the thread, and tell the user's stream of it; return the thread's head."""
    rooms = await make_room(tx, run, drafts, moved_id)
    await fill(tx, run, rooms, state, now=now)
    return rooms.thread.head


async def make_room(
    tx: Transaction, run: Run, drafts: list[Draft], moved_id: str, before: Sequence[Draft] = ()
) -> Rooms:
    """Take the next offsets of both streams; `before` goes first on the user's own."""
    context = run.context
    moved = Draft(moved_id, EventType.THREAD_ACTIVITY, {}, thread_id=run.thread_id)
    thread, own = await tx.together(
        log.make_room(tx, context, thread_stream(run.thread_id), drafts),
        log.make_room(tx, context, user_stream(context.user_id), [*before, moved]),
    )
    return Rooms(thread, own)


async def fill(tx: Transaction, run: Run, rooms: Rooms, state: RunState, *, now: float) -> None:
    """Append that a run is in another state, and how far its thread reaches."""
    payload = {"run_id": run.run_id, "state": state, "head": rooms.thread.head}
    own = [
        msgspec.structs.replace(draft, payload=payload)
        if draft.type is EventType.THREAD_ACTIVITY
        else draft
        for draft in rooms.own.drafts
    ]
    await tx.together(
        log.fill(tx, run.context, rooms.thread, now),
        log.fill(tx, run.context, rooms.own._replace(drafts=own), now),
    )
