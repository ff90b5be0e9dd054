"""Facts: the only way a figure gets into an answer.

A tool's result registers facts. Text names them, `{{fact:c2.total_usd}}`, and the renderer writes
the value. Every cell of a result's table is a fact too, named `<call>.r<row>.<column>`.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import msgspec

Value = int | float | str | bool | None

NO_VALUE = "(none)"
"""Stands in a column of names for those that have none."""


class Unit(StrEnum):
    """What a value counts; decides how it is written."""

    USD = "usd"
    USD_PER_MTOK = "usd_per_mtok"
    TOKENS = "tokens"
    TOKENS_PER_S = "tokens_per_s"
    TOKENS_PER_MINUTE = "tokens_per_minute"
    REQUESTS = "requests"
    REQUESTS_PER_MINUTE = "requests_per_minute"
    ROWS = "rows"
    COUNT = "count"
    MS = "ms"
    SECONDS = "s"
    DAYS = "days"
    RATIO = "ratio"
    TIME = "time"
    NAME = "name"


class Fact(msgspec.Struct, frozen=True):
    """A value, and where it comes from.

    `value` is raw (a ratio is 0..1, a time RFC 3339 text). `source` is the query or formula that
    gave it, `rows` how many rows of the user's data it was computed from.
    """

    id: str
    value: Value
    unit: Unit
    label: str
    tool: str
    call_id: str
    source: str
    rows: int


class Column(msgspec.Struct, frozen=True):
    """A column of a result: machine name, unit of its cells, heading for people."""

    name: str
    unit: Unit
    label: str


class Table(msgspec.Struct, frozen=True):
    """A bounded result: `rows` in the order of `columns`; `truncated` when there were more."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    truncated: bool = False


class ToolResult(msgspec.Struct, frozen=True):
    """What a tool found.

    `summary` is one sentence for people, without figures of its own making. `facts` are the scalars
    worth naming. `notes` say what limits the result (no price for a model, rows left out);
    `missing` names the fields of the usage record that the data lack. `source` is the query that
    gave the table, `rows` how many rows of data it read. `chart` is a Vega-Lite specification.
    `content` is text for the model, for tools that find something else than facts.
    """

    summary: str
    facts: tuple[Fact, ...] = ()
    table: Table | None = None
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    source: str = ""
    rows: int = 0
    chart: dict[str, Any] | None = None
    content: str = ""


def all_facts(tool: str, call_id: str, result: ToolResult) -> Iterator[Fact]:
    """Yield the named facts of a result, then one for every cell of its table."""
    yield from result.facts
    if result.table is None:
        return
    for number, row in enumerate(result.table.rows):
        for column, value in zip(result.table.columns, row, strict=True):
            yield Fact(
                id=cell_id(call_id, number, column.name),
                value=value,
                unit=column.unit,
                label=column.label,
                tool=tool,
                call_id=call_id,
                source=result.source,
                rows=result.rows,
            )


def cell_id(call_id: str, row: int, column: str) -> str:
    """Return the name of the fact in a table's cell; rows count from 0."""
    return f"{call_id}.r{row}.{column}"
