"""What was said before in a thread."""

import msgspec

from tidings.domain.events import Event, EventType
from tidings.domain.runs import Run, RunRequest
from tidings.storage.warm.port import Transaction

RUNS_TOLD_MAX = 10
TURN_CHARACTERS_MAX = 4_000
HISTORY_CHARACTERS_MAX = 16_000


class Turn(msgspec.Struct, frozen=True):
    """What the user said in an earlier run, and its answer; `complete`: it was not cut off."""

    run_id: str
    text: str
    answer: str = ""
    complete: bool = True


async def earlier(tx: Transaction, run: Run) -> tuple[Turn, ...]:
    """Return the last turns of the thread before this run, oldest first, within bounds."""
    rows = await tx.execute(
        "select run_id, request, status from runs where thread_id = ?"
        " and (created_at, run_id) < (?, ?) order by created_at desc, run_id desc limit ?",
        run.thread_id,
        run.created_at,
        run.run_id,
        RUNS_TOLD_MAX,
    )
    turns: list[Turn] = []
    room = HISTORY_CHARACTERS_MAX
    for run_id, request, status in rows:
        text = msgspec.json.decode(request, type=RunRequest).text[:TURN_CHARACTERS_MAX]
        answer = (await _answer(tx, run_id))[:TURN_CHARACTERS_MAX]
        room -= len(text) + len(answer)
        if room < 0:
            break
        turns.append(Turn(run_id, text, answer, status in {"completed", "degraded"}))
    return tuple(reversed(turns))


async def _answer(tx: Transaction, run_id: str) -> str:
    rows = await tx.execute(
        "select frame from events where run_id = ? and type in (?, ?, ?)",
        run_id,
        EventType.AGENT_COMPLETED,
        EventType.AGENT_FAILED,
        EventType.AGENT_CANCELLED,
    )
    if not rows:
        return ""
    payload = msgspec.json.decode(rows[0][0], type=Event).payload
    return str(payload.get("answer") or payload.get("partial_answer") or "")
