"""A question of one's own: SQL over the data, in the sandbox."""

from typing import Annotated

from pydantic import Field

from tidings.analysis.sql import Statement
from tidings.domain.facts import Column, ToolResult, Unit
from tidings.tools.data import Computed, UsageData, table
from tidings.tools.port import ToolContext

ROWS_MAX = 200
SQL_CHARS_MAX = 20_000

_UNITS = (
    ("usd", Unit.USD), ("cost", Unit.USD), ("spend", Unit.USD), ("per_s", Unit.TOKENS_PER_S),
    ("tokens", Unit.TOKENS), ("_ms", Unit.MS), ("latency", Unit.MS), ("seconds", Unit.SECONDS),
    ("share", Unit.RATIO), ("ratio", Unit.RATIO), ("rate", Unit.RATIO), ("quality", Unit.RATIO),
    ("requests", Unit.REQUESTS), ("rows", Unit.ROWS), ("days", Unit.DAYS),
)  # fmt: skip
_TIMES = ("TIMESTAMP", "DATE", "TIME")

Sql = Annotated[str, Field(min_length=1, max_length=SQL_CHARS_MAX)]


class OwnQuery:
    """The tool that runs SQL somebody else wrote."""

    def __init__(self, data: UsageData) -> None:
        self._data = data

    async def query(self, ctx: ToolContext, sql: Sql) -> ToolResult:
        """Run one SELECT (DuckDB dialect) over the view `usage`, whose columns are the fields.

        Use it for what no other tool answers. It can read nothing else and change nothing.
        """
        selection = await self._data.select(ctx)
        rows = await self._data.ask(selection, Statement(sql), ROWS_MAX)
        columns = [
            Column(name, _unit(name.lower(), kind), name.replace("_", " "))
            for name, kind in zip(rows.columns, rows.types, strict=True)
        ]
        return Computed(
            summary="The answer to a query over the data.",
            statement=sql,
            rows=selection.dataset.rows,
            scalars={},
            table=table(columns, rows, ROWS_MAX),
            notes=["There are more rows; aggregate or narrow the query."] if rows.truncated else [],
        ).result(ctx, "query")


def _unit(name: str, kind: str) -> Unit:
    """Guess what a column counts, by its name where its type allows."""
    if kind.startswith(_TIMES):
        return Unit.TIME
    if kind in ("VARCHAR", "BOOLEAN"):
        return Unit.NAME
    return next((unit for part, unit in _UNITS if part in name), Unit.COUNT)
