"""What moves in a user's threads, told on the user's own stream: only where to look."""

from tidings.domain.events import Draft, EventType, user_stream
from tidings.domain.runs import Run, RunState
from tidings.events import log
from tidings.storage.warm.port import Transaction


async def tell(
    tx: Transaction, run: Run, state: RunState, head: int, event_id: str, *, now: float
) -> None:
    """Append that a run is in another state, and how far its thread reaches."""
    payload = {"run_id": run.run_id, "state": state, "head": head}
    moved = Draft(event_id, EventType.THREAD_ACTIVITY, payload, thread_id=run.thread_id)
    await log.append(tx, run.context, user_stream(run.context.user_id), [moved], now)
