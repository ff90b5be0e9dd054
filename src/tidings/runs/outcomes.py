"""How steps of a run ended, as the journal keeps it and as users are shown it."""

from typing import Any

import msgspec

from tidings.domain.errors import LimitExceeded
from tidings.domain.facts import ToolResult
from tidings.domain.shapes import ARGUMENTS_BYTES_MAX
from tidings.models.port import NOTHING_USED, ModelReply, Usage

RESULT_ROWS_SHOWN_MAX = 20
RESULT_FACTS_SHOWN_MAX = 40
RESULT_CONTENT_SHOWN_MAX = 2_000
RESULT_SUMMARY_SHOWN_MAX = 2_000
RESULT_BYTES_SHOWN_MAX = 128 * 1024
RESULT_BYTES_MAX = 8 * 1024 * 1024


class Fault(msgspec.Struct, frozen=True):
    """Why a call failed, as models and users are told it."""

    code: str
    message: str
    retryable: bool = False


class ToolOutcome(msgspec.Struct, frozen=True):
    """How a tool call ended: a result, or a fault; after so many tries."""

    call_id: str
    tool: str
    ok: bool
    result: ToolResult | None = None
    error: Fault | None = None
    duration_ms: float = 0.0
    tries: int = 1


class ModelAnswer(msgspec.Struct, frozen=True):
    """How a model request ended: a reply, or a fault and what was taken all the same.

    `shown`: the messages whose text it showed; with a fault they are cut off, and `partial` is what
    of the reply was passed on.
    """

    reply: ModelReply | None
    error: Fault | None = None
    usage: Usage = NOTHING_USED
    shown: tuple[str, ...] = ()
    partial: str = ""


def kept(result: ToolResult) -> ToolResult:
    """Return a tool's result as the journal will give it back: what is no JSON becomes it or fails.

    Raises:
        LimitExceeded: `tool_result_too_large`.
        TypeError: it is none, or there is something in it that cannot be kept.
    """
    if not isinstance(result, ToolResult):  # whoever wrote the tool may check no types
        raise TypeError(f"a tool returns a ToolResult, not a {type(result).__name__}")
    body = msgspec.json.encode(result)
    if len(body) > RESULT_BYTES_MAX:
        raise LimitExceeded(
            "tool_result_too_large", "The tool found more than can be kept; ask it for less."
        )
    return msgspec.json.decode(body, type=ToolResult)


def arguments_shown(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return arguments as users are shown them; none where there is too much, or no JSON."""
    try:
        fit = len(msgspec.json.encode(arguments)) <= ARGUMENTS_BYTES_MAX
    except TypeError:
        fit = False
    return arguments if fit else {}


def shown(outcome: ToolOutcome, run_id: str) -> dict[str, Any]:
    """Return a call's end as users are shown it: bounded; where it is cut it says where all is."""
    shown: dict[str, Any] = {
        "call_id": outcome.call_id,
        "tool": outcome.tool,
        "ok": outcome.ok,
        "duration_ms": outcome.duration_ms,
    }
    if outcome.tries > 1:
        shown["tries"] = outcome.tries
    if outcome.error is not None:
        return shown | {"summary": outcome.error.message, "error": outcome.error}
    result = outcome.result
    assert result is not None  # noqa: S101 - an outcome is a result or a fault
    brief, whole = _brief(result)
    if not whole:
        path = f"/api/runs/{run_id}/calls/{outcome.call_id}"
        brief["stored"] = {"path": path, "bytes": len(msgspec.json.encode(result))}
    return shown | {"summary": result.summary[:RESULT_SUMMARY_SHOWN_MAX], "result": brief}


def _brief(result: ToolResult) -> tuple[dict[str, Any], bool]:
    """Return a result within its bounds, and whether that is all of it."""
    table = result.table
    if table is not None and len(table.rows) > RESULT_ROWS_SHOWN_MAX:
        table = msgspec.structs.replace(
            table, rows=table.rows[:RESULT_ROWS_SHOWN_MAX], truncated=True
        )
    whole = (
        table is result.table
        and len(result.facts) <= RESULT_FACTS_SHOWN_MAX
        and len(result.content) <= RESULT_CONTENT_SHOWN_MAX
        and len(result.summary) <= RESULT_SUMMARY_SHOWN_MAX
    )
    brief: dict[str, Any] = {
        "facts": result.facts[:RESULT_FACTS_SHOWN_MAX],
        "table": table,
        "notes": result.notes,
    }
    if result.content:
        brief["content"] = result.content[:RESULT_CONTENT_SHOWN_MAX]
    if len(msgspec.json.encode(brief)) > RESULT_BYTES_SHOWN_MAX:
        return {
            "facts": (),
            "table": None,
            "notes": ("The result is too large to be shown.",),
        }, False
    return brief, whole
