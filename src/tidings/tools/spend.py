"""Where the money goes: by dimension, and over time."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from tidings.analysis.record import Dimension
from tidings.domain.errors import InvalidInput
from tidings.domain.facts import Column, ToolResult, Unit
from tidings.tools.data import (
    Computed,
    ModelName,
    Top,
    UsageData,
    Where,
    costed,
    first_row,
    grouped,
    heading,
    missing_for_cost,
    price_notes,
    table,
)
from tidings.tools.port import ToolContext

DIMENSIONS_MAX = 3

REQUESTS = Column("requests", Unit.REQUESTS, "requests")
INPUT_TOKENS = Column("input_tokens", Unit.TOKENS, "input tokens")
OUTPUT_TOKENS = Column("output_tokens", Unit.TOKENS, "output tokens")
COST = Column("cost_usd", Unit.USD, "cost")

Dimensions = Annotated[tuple[Dimension, ...], Field(min_length=1, max_length=DIMENSIONS_MAX)]


class Period(StrEnum):
    """The length of a step in time."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"


class Spend:
    """The tools about money."""

    def __init__(self, data: UsageData) -> None:
        self._data = data

    async def spend_by(
        self,
        ctx: ToolContext,
        dimensions: Dimensions,
        where: Where = (),
        assume_model: ModelName | None = None,
        top: Top = 20,
    ) -> ToolResult:
        """Requests, tokens and cost by one to three dimensions, the dearest first."""
        names = tuple(dict.fromkeys(dimensions))
        selection = await self._data.select(ctx, where, assume_model)
        selection.require(*names)
        pricing = self._data.pricing(selection)
        keys = ", ".join(names)
        statement = costed(
            selection,
            pricing,
            f"select {', '.join(grouped(name) for name in names)}, count(*) as requests, "
            "sum(input_tokens)::bigint as input_tokens, "
            "sum(output_tokens)::bigint as output_tokens, sum(cost_usd) as cost_usd, "
            "sum(cost_usd) / sum(sum(cost_usd)) over () as share, "
            "sum(cost_usd) / count(cost_usd) as cost_per_request_usd, "
            "sum(sum(cost_usd)) over () as total_usd, "
            "sum(count(*)) over ()::bigint as all_requests, "
            "sum(count(cost_usd)) over ()::bigint as priced, "
            "sum(count(cost_reported)) over ()::bigint as reported, "
            "sum(sum(input_tokens)) over ()::bigint as all_input, "
            "sum(sum(output_tokens)) over ()::bigint as all_output "
            f"from costed group by {', '.join(str(n + 1) for n in range(len(names)))} "
            "order by cost_usd desc nulls last, coalesce(sum(input_tokens), 0) "
            f"+ coalesce(sum(output_tokens), 0) desc, {keys} limit {top + 1}",
        )
        rows = await self._data.ask(selection, statement, top + 1)
        total, requests, priced, reported, tokens_in, tokens_out = first_row(rows, selection)[-6:]
        unpriced = int(requests or 0) - int(priced or 0)
        columns = [
            *(heading(name) for name in names), REQUESTS, INPUT_TOKENS, OUTPUT_TOKENS, COST,
            Column("share", Unit.RATIO, "share of the cost"),
            Column("cost_per_request_usd", Unit.USD, "cost of a request"),
        ]  # fmt: skip
        return Computed(
            summary=f"Requests, tokens and cost by {' and '.join(names)}.",
            statement=str(statement),
            rows=int(requests or 0),
            scalars={
                "total_usd": (total, Unit.USD, "total cost"),
                "priced_requests": (priced, Unit.REQUESTS, "requests with a price"),
                "unpriced_requests": (unpriced, Unit.REQUESTS, "requests without a price"),
                "requests": (requests, Unit.REQUESTS, "requests"),
                "input_tokens": (tokens_in, Unit.TOKENS, "input tokens"),
                "output_tokens": (tokens_out, Unit.TOKENS, "output tokens"),
            },
            table=table(columns, rows, top),
            notes=price_notes(
                selection, pricing, counted=requests, priced=priced, reported=reported
            ),
            missing=missing_for_cost(selection),
        ).result(ctx, "spend_by")

    async def spend_over_time(
        self,
        ctx: ToolContext,
        period: Period,
        where: Where = (),
        assume_model: ModelName | None = None,
        top: Top = 500,
    ) -> ToolResult:
        """Requests, tokens and cost per minute, hour, day or week, and the period with most tokens.

        Times are UTC, weeks begin on Monday. The mean counts periods without requests too.
        """
        selection = await self._data.select(ctx, where, assume_model)
        selection.require("ts")
        if selection.absent("input_tokens", "output_tokens") == ("input_tokens", "output_tokens"):
            selection.require("input_tokens", "output_tokens")
        pricing = self._data.pricing(selection)
        statement = costed(selection, pricing, _over_time_sql(period, top))
        rows = await self._data.ask(selection, statement, top + 1)
        first = first_row(rows, selection)
        peak, tokens, requests, periods, total, dated, reported, priced, all_requests = first[-9:]
        if not dated:
            raise InvalidInput("no_match", "None of these requests has a time.")
        notes = price_notes(selection, pricing, counted=dated, priced=priced, reported=reported)
        if undated := int(all_requests or 0) - int(dated):
            notes.append(f"{undated:,} requests have no time and are left out.")
        columns = [
            Column("start", Unit.TIME, f"{period}"), REQUESTS, INPUT_TOKENS, OUTPUT_TOKENS,
            Column("tokens", Unit.TOKENS, "tokens"), COST,
        ]  # fmt: skip
        return Computed(
            summary=f"Requests, tokens and cost per {period}.",
            statement=str(statement),
            rows=int(dated),
            scalars={
                "peak_start": (peak, Unit.TIME, f"{period} with most tokens"),
                "peak_tokens": (tokens, Unit.TOKENS, f"tokens in the busiest {period}"),
                "peak_requests": (requests, Unit.REQUESTS, f"requests in the busiest {period}"),
                "mean_tokens": (
                    float(total or 0) / float(periods or 1), Unit.TOKENS, f"tokens per {period}",
                ),
                "periods": (periods, Unit.COUNT, f"{period}s from first to last"),
            },
            table=table(columns, rows, top),
            notes=notes,
            missing=missing_for_cost(selection),
        ).result(ctx, "spend_over_time")  # fmt: skip


def _over_time_sql(period: Period, top: int) -> str:
    return (
        f", periods as (select date_trunc('{period}', ts)::timestamp as start, "
        "count(*) as requests, sum(input_tokens)::bigint as input_tokens, "
        "sum(output_tokens)::bigint as output_tokens, "
        "(coalesce(sum(input_tokens), 0) + coalesce(sum(output_tokens), 0))::bigint as tokens, "
        "sum(cost_usd) as cost_usd, count(cost_reported) as reported, count(cost_usd) as priced "
        "from costed group by 1), "
        "dated as (from periods where start is not null), "
        "overall as (select arg_max(start, tokens) as peak_start, max(tokens) as peak_tokens, "
        "arg_max(requests, tokens) as peak_requests, "
        f"date_diff('{period}', min(start), max(start)) + 1 as periods, "
        "sum(tokens)::bigint as total, sum(requests)::bigint as dated, "
        "sum(reported)::bigint as reported, sum(priced)::bigint as priced from dated) "
        "select d.start, d.requests, d.input_tokens, d.output_tokens, d.tokens, d.cost_usd, "
        "o.*, (select sum(requests)::bigint from periods) as all_requests "
        f"from dated d cross join overall o order by 1 limit {top + 1}"
    )
