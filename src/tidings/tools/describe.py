"""What is in the data: size, time span, and how well each field is filled."""

from tidings.analysis.record import RECORD
from tidings.analysis.sql import Statement
from tidings.domain.facts import Column, Table, ToolResult, Unit
from tidings.tools.data import Computed, UsageData
from tidings.tools.port import ToolContext

COMMONLY_NEEDED = frozenset(
    {
        "ts", "provider", "model", "input_tokens", "output_tokens", "cached_input_tokens",
        "latency_ms", "ttft_ms", "status", "error_code", "attempt", "feature", "prompt_hash",
        "cost_reported", "quality_score",
    }
)  # fmt: skip

_COLUMNS = (
    Column("field", Unit.NAME, "field"),
    Column("coverage", Unit.RATIO, "share of rows that have it"),
    Column("filled", Unit.ROWS, "rows that have it"),
    Column("distinct", Unit.COUNT, "distinct values, about"),
)
_TIME = "'%Y-%m-%dT%H:%M:%S.%fZ'"


class Describe:
    """The tool that looks at the data before any other."""

    def __init__(self, data: UsageData) -> None:
        self._data = data

    async def describe_data(self, ctx: ToolContext) -> ToolResult:
        """Size and time span of the data, and for each field how many rows have it.

        `missing` names the fields of a usage log that the data lack.
        """
        selection = await self._data.select(ctx)
        present = [f.name for f in RECORD if f.name in selection.dataset.fields]
        counts = "".join(
            f", count({name}), approx_count_distinct({name})::bigint" for name in present
        )
        statement = Statement(
            f"select count(*), strftime(min(ts), {_TIME}), strftime(max(ts), {_TIME}), "
            "epoch(max(ts) - min(ts)) / 86400, sum(input_tokens)::bigint, "
            f"sum(output_tokens)::bigint, {_distinct('model')}, {_distinct('feature')}{counts} "
            "from usage"
        )
        rows = await self._data.ask(selection, statement, 1)
        total, first, last, days, tokens_in, tokens_out, models, features, *filled = rows.rows[0]
        counted = dict(zip(present, zip(filled[::2], filled[1::2], strict=True), strict=True))
        count = int(total or 0)
        table = Table(
            columns=_COLUMNS,
            rows=tuple(
                (f.name, int(here or 0) / max(count, 1), here, distinct)
                for f in RECORD
                for here, distinct in [counted.get(f.name, (0, 0))]
                if f.name in counted or f.name in COMMONLY_NEEDED
            ),
        )
        return Computed(
            summary="What the data hold, and how well each field is filled.",
            statement=str(statement),
            rows=count,
            scalars={
                "rows": (total, Unit.ROWS, "rows"),
                "first_ts": (first, Unit.TIME, "first request"),
                "last_ts": (last, Unit.TIME, "last request"),
                "days": (days, Unit.DAYS, "days from first to last request"),
                "requests": (total, Unit.REQUESTS, "requests"),
                "input_tokens": (tokens_in, Unit.TOKENS, "input tokens"),
                "output_tokens": (tokens_out, Unit.TOKENS, "output tokens"),
                "models": (models, Unit.COUNT, "models"),
                "features": (features, Unit.COUNT, "features"),
            },
            table=table,
            missing=tuple(f.name for f in RECORD if f.name not in selection.dataset.fields),
        ).result(ctx, "describe_data")


def _distinct(name: str) -> str:
    """Return the SQL of an exact count; grouping takes less memory than counting distinct."""
    return f"(select count(*) from (select {name} from usage group by 1) where {name} is not null)"
