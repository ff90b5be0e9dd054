"""A chart of an earlier result's table."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from tidings.domain.errors import InvalidInput
from tidings.domain.facts import Column, Table, ToolResult, Unit
from tidings.tools.port import ToolContext

TITLE_CHARS_MAX = 200

_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
_FORMATS = {Unit.USD: "$,.2~f", Unit.RATIO: ".1~%"}
_SIZE = {"width": 560, "height": 300}

Title = Annotated[str, Field(min_length=1, max_length=TITLE_CHARS_MAX)]


class ChartKind(StrEnum):
    """How values are drawn."""

    BAR = "bar"
    LINE = "line"


async def chart(
    ctx: ToolContext, call_id: str, kind: ChartKind, x: str, y: str, title: Title
) -> ToolResult:
    """Draw two columns of an earlier call's table: `x` across, `y` (a number) up."""
    source = ctx.results.get(call_id)
    if source is None or source.table is None:
        tables = ", ".join(known for known, result in ctx.results.items() if result.table)
        raise InvalidInput(
            "unknown_table",
            f"The call `{call_id[:64]}` has no table. Calls with one: {tables or 'none'}.",
        )
    across, up = _column(source.table, x), _column(source.table, y)
    if source.table.columns[up].unit in (Unit.NAME, Unit.TIME):
        raise InvalidInput("not_a_number", f"`{y}` is no number and cannot be the height.")
    return ToolResult(
        summary=f"A chart: {title}.",
        source=source.source,
        rows=source.rows,
        notes=("The table was cut; so is the chart.",) if source.table.truncated else (),
        chart=_spec(source.table, across, up, kind, title),
    )


def _column(table: Table, name: str) -> int:
    names = [column.name for column in table.columns]
    if name not in names:
        raise InvalidInput(
            "unknown_column", f"The table has no column `{name[:64]}`, but: {', '.join(names)}."
        )
    return names.index(name)


def _spec(table: Table, across: int, up: int, kind: ChartKind, title: str) -> dict[str, Any]:
    x, y = table.columns[across], table.columns[up]
    return {
        "$schema": _SCHEMA,
        "title": title,
        **_SIZE,
        "data": {"values": [{"x": row[across], "y": row[up]} for row in table.rows]},
        "mark": {"type": kind, "tooltip": True},
        "encoding": {
            "x": {"field": "x", "type": _type(x), "title": x.label, "sort": None},
            "y": {
                "field": "y",
                "type": "quantitative",
                "title": y.label,
                "axis": {"format": _FORMATS.get(y.unit, ",~f")},
            },
        },
    }


def _type(column: Column) -> str:
    if column.unit is Unit.TIME:
        return "temporal"
    return "nominal" if column.unit is Unit.NAME else "quantitative"
