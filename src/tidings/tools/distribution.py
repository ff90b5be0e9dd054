"""How tokens and latency are spread, over all requests or by a dimension."""

from dataclasses import dataclass

from tidings.analysis.record import Dimension
from tidings.domain.facts import Column, ToolResult, Unit
from tidings.tools.data import (
    Computed,
    Top,
    UsageData,
    Where,
    first_row,
    grouped,
    heading,
    plain,
    table,
)
from tidings.tools.port import ToolContext
from tidings.tools.spend import REQUESTS


class Distribution:
    """The tools about spread."""

    def __init__(self, data: UsageData) -> None:
        self._data = data

    async def token_distribution(
        self,
        ctx: ToolContext,
        dimension: Dimension | None = None,
        where: Where = (),
        top: Top = 20,
    ) -> ToolResult:
        """Mean, p50, p90, p99 and largest input and output of a request, in tokens."""
        return await self._spread(ctx, TOKENS, dimension, where, top)

    async def latency_by(
        self,
        ctx: ToolContext,
        dimension: Dimension | None = None,
        where: Where = (),
        top: Top = 20,
    ) -> ToolResult:
        """Latency p50, p90, p95, p99, time to first token and output speed; busiest group first."""
        return await self._spread(ctx, LATENCY, dimension, where, top)

    async def _spread(
        self,
        ctx: ToolContext,
        spread: "Spread",
        dimension: Dimension | None,
        where: Where,
        top: int,
    ) -> ToolResult:
        selection = await self._data.select(ctx, where)
        selection.require(*([dimension] if dimension else []))
        missing = selection.absent(*spread.fields)
        if missing == spread.fields:
            selection.require(*spread.fields)
        key = f"{grouped(dimension)}, " if dimension else ""
        name = f"{dimension}, " if dimension else ""
        statement = plain(
            selection,
            f", spread as (select {key}count(*) as requests, {spread.aggregates} "
            f"from requests{' group by 1' if dimension else ''}) "
            f"select {name}requests, {spread.picked} from spread where requests > 0 "
            f"order by requests desc, 1 limit {top + 1}",
        )
        rows = await self._data.ask(selection, statement, top + 1)
        first_row(rows, selection)
        keys = [heading(dimension)] if dimension else []
        counted = [row[len(keys)] for row in rows.rows]
        return Computed(
            summary=f"{spread.summary}{f', by {dimension}' if dimension else ''}.",
            statement=str(statement),
            rows=sum(int(count or 0) for count in counted),
            scalars={},
            table=table([*keys, REQUESTS, *spread.columns], rows, top),
            missing=missing,
        ).result(ctx, spread.tool)


@dataclass(frozen=True, slots=True)
class Spread:
    """What one of these tools measures: its SQL, its columns, the fields it can do with one of."""

    tool: str
    summary: str
    aggregates: str
    picked: str
    columns: tuple[Column, ...]
    fields: tuple[str, ...]


_SIDES = ("input", "output")
TOKENS = Spread(
    tool="token_distribution",
    summary="How many tokens a request has",
    aggregates=", ".join(
        f"avg({side}_tokens) as {side}_mean, "
        f"quantile_cont({side}_tokens, [0.5, 0.9, 0.99]) as {side}_q, "
        f"max({side}_tokens) as {side}_max"
        for side in _SIDES
    ),
    picked=", ".join(
        f"{side}_mean, {side}_q[1], {side}_q[2], {side}_q[3], {side}_max" for side in _SIDES
    ),
    columns=tuple(
        Column(f"{side}_{what}", Unit.TOKENS, f"{side} tokens, {what}")
        for side in _SIDES
        for what in ("mean", "p50", "p90", "p99", "max")
    ),
    fields=("input_tokens", "output_tokens"),
)
LATENCY = Spread(
    tool="latency_by",
    summary="How long requests take",
    aggregates=(
        "quantile_cont(latency_ms, [0.5, 0.9, 0.95, 0.99]) as l, "
        "quantile_cont(ttft_ms, [0.5, 0.95]) as f, "
        "median(case when latency_ms > 0 then output_tokens * 1000 / latency_ms end) as speed"
    ),
    picked="l[1], l[2], l[3], l[4], f[1], f[2], speed",
    columns=(
        Column("p50_ms", Unit.MS, "latency, p50"),
        Column("p90_ms", Unit.MS, "latency, p90"),
        Column("p95_ms", Unit.MS, "latency, p95"),
        Column("p99_ms", Unit.MS, "latency, p99"),
        Column("ttft_p50_ms", Unit.MS, "time to first token, p50"),
        Column("ttft_p95_ms", Unit.MS, "time to first token, p95"),
        Column("tokens_per_s", Unit.TOKENS_PER_S, "output tokens per second, p50"),
    ),
    fields=("latency_ms", "ttft_ms"),
)
