"""The tool calls of a run: made here, kept for whoever thinks or writes about them."""

from collections.abc import Sequence
from typing import Any

import msgspec

from tidings.domain.facts import ToolResult
from tidings.models.tasks import Called
from tidings.runs.context import RunContext
from tidings.runs.outcomes import ToolOutcome
from tidings.runs.rulings import ToolRequest

ROWS_SHOWN_MAX = 20
CONTENT_SHOWN_MAX = 20_000


class Notebook:
    """What was called in this run, and what came of it."""

    def __init__(self) -> None:
        self._calls: list[Called] = []

    @property
    def calls(self) -> tuple[Called, ...]:
        """Return all calls in order, the failed ones too."""
        return tuple(self._calls)

    async def call(self, ctx: RunContext, requests: Sequence[ToolRequest]) -> list[Called]:
        """Make these calls side by side and keep the outcomes; a tool's failure is an outcome."""
        outcomes = await ctx.tools(requests)
        called = [_called(*pair) for pair in zip(requests, outcomes, strict=True)]
        self._calls += called
        return called


def _called(request: ToolRequest, outcome: ToolOutcome) -> Called:
    tool = request.what if isinstance(request.what, str) else request.what.name
    error = f"{outcome.error.code}: {outcome.error.message}" if outcome.error else ""
    return Called(outcome.call_id, tool, request.arguments, outcome.result, error)


def shown(called: Called) -> str:
    """Return a call's outcome as models are shown it: compact JSON, every figure has an id."""
    if called.result is None:
        return _json({"call_id": called.call_id, "tool": called.tool, "error": called.error})
    return _json(
        {"call_id": called.call_id, "tool": called.tool, "arguments": called.arguments}
        | _result(called.call_id, called.result)
    )


def _result(call_id: str, result: ToolResult) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "summary": result.summary,
        "facts": [
            {"id": fact.id, "label": fact.label, "value": fact.value, "unit": fact.unit}
            for fact in result.facts
        ],
    }
    if result.table is not None:
        shown["table"] = {
            "fact_id_of_a_cell": f"{call_id}.r<row, from 0>.<column>",
            "columns": [f"{column.name} ({column.unit})" for column in result.table.columns],
            "rows": result.table.rows[:ROWS_SHOWN_MAX],
            "more_rows": len(result.table.rows) > ROWS_SHOWN_MAX or result.table.truncated,
        }
    if result.chart is not None:
        shown["chart"] = f"{{{{chart:{call_id}}}}}"
    if result.content:
        shown["content"] = result.content[:CONTENT_SHOWN_MAX]
    return shown | {"notes": result.notes, "missing": result.missing}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
