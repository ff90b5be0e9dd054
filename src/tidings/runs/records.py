"""The steps of a run as they are stored."""

from typing import NamedTuple

from tidings.models.port import Usage
from tidings.storage.warm.port import Transaction

StepRow = tuple[str, str, bytes | None]
"""A step's key, the keys of the events that it told, and its result."""


class StepRecord(NamedTuple):
    """A step that is begun, or has a result; `usage` is what a model request has taken."""

    key: str
    kind: str
    result: bytes | None = None
    usage: Usage | None = None


async def read_steps(tx: Transaction, run_id: str) -> list[StepRow]:
    """Return what is recorded of a run's steps."""
    rows = await tx.execute("select key, emitted, result from steps where run_id = ?", run_id)
    return [(key, emitted, result) for key, emitted, result in rows]


async def write_step(tx: Transaction, run_id: str, record: StepRecord, emitted: str) -> None:
    """Insert a step, or finish one that was begun; what it had told stays told.

    `emitted` is a list in JSON: two of them become one by what is between their brackets.
    """
    await tx.execute(
        "insert into steps (run_id, key, kind, emitted, result) values (?, ?, ?, ?, ?)"
        " on conflict (run_id, key) do update set kind = excluded.kind, result = excluded.result,"
        " emitted = case when steps.emitted = '[]' then excluded.emitted"
        "  when excluded.emitted = '[]' then steps.emitted"
        "  else substr(steps.emitted, 1, length(steps.emitted) - 1) || ','"
        "   || substr(excluded.emitted, 2) end",
        run_id,
        record.key,
        record.kind,
        emitted,
        record.result,
    )
