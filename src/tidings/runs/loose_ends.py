"""What a run leaves open when it ends early: calls and agents without an end get one."""

from itertools import chain

import msgspec

from tidings.domain.events import Draft, Event, EventType
from tidings.domain.ports import IdSource
from tidings.domain.runs import Run
from tidings.storage.warm.port import Transaction

_ENDS = {
    EventType.TOOL_EXECUTING: EventType.TOOL_COMPLETED,
    EventType.SUBAGENT_STARTED: EventType.SUBAGENT_COMPLETED,
}
_CUT_SHORT = {"code": "cut_short", "message": "The run ended first.", "retryable": False}


async def loose_ends(tx: Transaction, run: Run, ids: IdSource, fresh: list[Draft]) -> list[Draft]:
    """Return the ends that are missing, innermost first; none after a run that came to its end.

    `fresh` is what the run has told that is not in the log yet.
    """
    marks = ", ".join("?" * 2 * len(_ENDS))
    rows = await tx.execute(
        f"select type, frame from events where run_id = ? and type in ({marks})"  # noqa: S608
        ' order by "offset"',
        run.run_id,
        *_ENDS.keys(),
        *_ENDS.values(),
    )
    newest = [draft for draft in fresh if draft.type in _ENDS or draft.type in _ENDS.values()]
    types = [type_ for type_, _ in rows] + [draft.type for draft in newest]
    if all(types.count(begin) == types.count(end) for begin, end in _ENDS.items()):
        return []
    opened: list[Event | Draft] = []
    logged = [msgspec.json.decode(frame, type=Event) for _, frame in rows]
    for event in chain[Event | Draft](logged, newest):
        if event.type in _ENDS:
            opened.append(event)
        else:
            opened = [begun for begun in opened if not _is_end_of(event, begun)]
    return [_end_of(begun, run, ids.new("e")) for begun in reversed(opened)]


def _is_end_of(event: Event | Draft, begun: Event | Draft) -> bool:
    if event.type != _ENDS[EventType(begun.type)]:
        return False
    if begun.type == EventType.TOOL_EXECUTING:
        return bool(event.payload["call_id"] == begun.payload["call_id"])
    return event.agent == begun.agent


def _end_of(begun: Event | Draft, run: Run, event_id: str) -> Draft:
    payload = {"summary": _CUT_SHORT["message"], "ok": False}
    if begun.type == EventType.TOOL_EXECUTING:
        called = {"call_id": begun.payload["call_id"], "tool": begun.payload["tool"]}
        payload |= called | {"duration_ms": 0.0, "error": _CUT_SHORT}
    type_ = _ENDS[EventType(begun.type)]
    return Draft(event_id, type_, payload, begun.agent, run.run_id, run.thread_id)
