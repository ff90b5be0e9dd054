"""Tools by their real names with results from a script: one planted workload, one bare trace."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from tidings.domain.errors import InvalidInput
from tidings.domain.facts import Column, Fact, Table, ToolResult, Unit, Value
from tidings.domain.permissions import Effect
from tidings.tools.port import Tool, ToolContext

Rows = tuple[tuple[Value, ...], ...]
Script = Mapping[str, Callable[[str, dict[str, Any]], ToolResult]]

UNITS = {
    "usd": Unit.USD,
    "ms": Unit.MS,
    "share": Unit.RATIO,
    "coverage": Unit.RATIO,
    "tokens": Unit.TOKENS,
    "requests": Unit.REQUESTS,
    "days": Unit.DAYS,
    "ts": Unit.TIME,
    "start": Unit.TIME,
}


def result(
    tool: str,
    call_id: str,
    scalars: dict[str, Value],
    columns: tuple[str, ...] = (),
    rows: Rows = (),
) -> ToolResult:
    """Return a result with these scalars as facts and this table."""
    facts = tuple(
        Fact(f"{call_id}.{name}", value, unit(name), name, tool, call_id, "select 1", 100)
        for name, value in scalars.items()
    )
    heads = tuple(Column(name, unit(name), name) for name in columns)
    return ToolResult(f"{tool} found something.", facts, Table(heads, rows) if columns else None)


def unit(name: str) -> Unit:
    """Return a unit by the ending of a name."""
    if name.startswith("quality") and not name.endswith("target"):
        return Unit.RATIO
    return UNITS.get(name.rsplit("_", 1)[-1], Unit.NAME if name in NAMES else Unit.COUNT)


NAMES = {"feature", "model", "from_model", "to_model", "error_code", "field"}

TRACED = ["ts", "input_tokens", "output_tokens"]
FULL = [*TRACED, "model", "feature", "latency_ms", "status", "error_code", "prompt_hash"]
SPEND_COLUMNS = (
    "feature",
    "model",
    "requests",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "share",
    "cost_per_request_usd",
)
SPEND_ROWS: Rows = (
    ("classify", "gpt-4o", 4000, 16_000_000, 40_000, 60.0, 0.52, 0.015),
    ("chat", "gpt-4o", 3000, 9_000_000, 900_000, 50.0, 0.43, 0.0167),
    ("search", "gpt-4o-mini", 2000, 8_000_000, 90_000, 5.0, 0.04, 0.0025),
    ("classify", "gpt-4o-mini", 500, 2_000_000, 5_000, 0.5, 0.005, 0.001),
)


def describe(fields: list[str], days: float) -> Callable[[str, dict[str, Any]], ToolResult]:
    """Return a description of data that have these fields, all filled."""

    def call(call_id: str, _arguments: dict[str, Any]) -> ToolResult:
        scalars: dict[str, Value] = {
            "rows": 10_000,
            "requests": 10_000,
            "days": days,
            "first_ts": "2026-01-01T00:00:00Z",
            "last_ts": "2026-01-08T00:00:00Z",
            "input_tokens": 35_000_000,
            "output_tokens": 1_035_000,
        }
        rows = tuple((field, 1.0, 10_000, 7) for field in fields)
        columns = ("field", "coverage", "filled", "distinct")
        return result("describe_data", call_id, scalars, columns, rows)

    return call


def spend(call_id: str, _arguments: dict[str, Any]) -> ToolResult:
    scalars: dict[str, Value] = {"total_usd": 115.5, "priced_requests": 9500, "requests": 9500}
    return result("spend_by", call_id, scalars, SPEND_COLUMNS, SPEND_ROWS)


def reprice(call_id: str, arguments: dict[str, Any]) -> ToolResult:
    """The cheap model costs a tenth; it is as good for classify, and clearly worse for chat."""
    feature = arguments.get("where", [{"equals": None}])[0]["equals"]
    current = sum(
        float(row[5] or 0)
        for row in SPEND_ROWS
        if feature in {None, row[0]} and arguments.get("from_model") in {None, row[1]}
    )
    quality = {"classify": 0.915}.get(feature, 0.70)
    scalars: dict[str, Value] = {
        "requests": 4000,
        "current_usd": current,
        "repriced_usd": current / 10,
        "saving_usd": current * 0.9,
        "saving_share": 0.9,
        "quality_current": 0.92,
        "quality_target": quality,
        "quality_samples_target": 500,
        "quality_loss_least": 0.92 - quality - 0.01,
        "quality_loss_most": 0.92 - quality + 0.01,
        "quality_confidence": 0.95,
    }
    models = (arguments.get("from_model"), arguments["to_model"])
    return result("reprice", call_id, scalars, ("from_model", "to_model"), (models,))


def over_time(call_id: str, _arguments: dict[str, Any]) -> ToolResult:
    scalars: dict[str, Value] = {
        "peak_start": "2026-01-03T10:00:00Z",
        "peak_tokens": 900_000,
        "peak_requests": 210,
        "mean_tokens": 300_000,
        "periods": 2,
    }
    columns = ("start", "requests", "input_tokens", "output_tokens", "tokens", "cost_usd")
    rows: Rows = (
        ("2026-01-02T10:00:00Z", 100, 200_000, 9_000, 209_000, 1.0),
        ("2026-01-03T10:00:00Z", 210, 890_000, 10_000, 900_000, 3.0),
    )
    return result("spend_over_time", call_id, scalars, columns, rows)


def duplicates(call_id: str, _arguments: dict[str, Any]) -> ToolResult:
    scalars: dict[str, Value] = {
        "duplicates": 1800,
        "duplicate_share": 0.18,
        "duplicate_cost_usd": 12.0,
        "distinct_prompts": 7700,
    }
    rows: Rows = (
        ("search", 2000, 1500, 0.75, 4.0),
        ("classify", 4500, 300, 0.07, 8.0),
    )
    columns = ("feature", "requests", "duplicates", "share", "cost_usd")
    return result("duplicate_requests", call_id, scalars, columns, rows)


def failures(call_id: str, _arguments: dict[str, Any]) -> ToolResult:
    scalars: dict[str, Value] = {
        "failed_requests": 200,
        "failed_share": 0.02,
        "retried_requests": 150,
        "failed_cost_usd": 1.5,
        "retry_cost_usd": 2.0,
    }
    rows: Rows = (
        ("rate_limited", 150, 0.75, 1.0),
        ("timeout", 50, 0.25, 0.5),
    )
    return result(
        "errors_and_retries",
        call_id,
        scalars,
        ("error_code", "requests", "share", "cost_usd"),
        rows,
    )


def latency(call_id: str, arguments: dict[str, Any]) -> ToolResult:
    by = arguments.get("dimension", "feature")
    names = ("gpt-4o", "gpt-4o-mini") if by == "model" else ("chat", "classify")
    rows: Rows = (
        (names[0], 3000, 2400.0, 5200.0, 610.0, 41.0),
        (names[1], 4500, 900.0, 1800.0, 300.0, 90.0),
    )
    columns = (by, "requests", "p50_ms", "p95_ms", "ttft_p50_ms", "tokens_per_s")
    return result("latency_by", call_id, {}, columns, rows)


def sizes(call_id: str, _arguments: dict[str, Any]) -> ToolResult:
    rows: Rows = (
        ("classify", 4500, 4000.0, 10.0),
        ("chat", 3000, 3000.0, 300.0),
    )
    return result(
        "token_distribution",
        call_id,
        {},
        ("feature", "requests", "input_mean", "output_mean"),
        rows,
    )


def calculate(call_id: str, arguments: dict[str, Any]) -> ToolResult:
    unit = Unit(arguments.get("unit", "usd"))
    label = arguments.get("label", "")
    fact = Fact(f"{call_id}.value", 42.5, unit, label, "calculate", call_id, "1", 1)
    return ToolResult("Computed.", (fact,))


def chart(call_id: str, arguments: dict[str, Any]) -> ToolResult:
    return ToolResult("A chart.", chart={"mark": arguments["kind"]})


def query(call_id: str, arguments: dict[str, Any]) -> ToolResult:
    """Answer the questions about caching and about quality."""
    if "cached_input_tokens" in arguments["sql"]:
        columns = ("feature", "requests", "input_tokens", "cached_input_tokens", "cached_share")
        return result("query", call_id, {}, columns, (("classify", 4500, 18_000, 900, 0.05),))
    rows: Rows = (("gpt-4o", 7000, 0.92), ("gpt-4o-mini", 2500, 0.8))
    return result("query", call_id, {}, ("model", "requests", "quality_share"), rows)


PLANTED: Script = {
    "describe_data": describe([*FULL, "quality_score", "cached_input_tokens"], 7.0),
    "spend_by": spend,
    "reprice": reprice,
    "spend_over_time": over_time,
    "duplicate_requests": duplicates,
    "errors_and_retries": failures,
    "latency_by": latency,
    "token_distribution": sizes,
    "query": query,
    "calculate": calculate,
    "chart": chart,
}


def bare_spend(call_id: str, arguments: dict[str, Any]) -> ToolResult:
    """Price the trace, only if the user said on which model it ran."""
    if "assume_model" not in arguments:
        raise InvalidInput("fields_missing", "These data name no model.")
    model = arguments["assume_model"]
    row = (model, 10_000, 18_000_000, 246_000, 47.6, 1.0, 0.00476)
    return result(
        "spend_by",
        call_id,
        {"total_usd": 47.6, "priced_requests": 10_000},
        SPEND_COLUMNS[1:],
        (row,),
    )


def bare_sizes(call_id: str, _arguments: dict[str, Any]) -> ToolResult:
    columns = ("requests", "input_mean", "output_mean")
    return result("token_distribution", call_id, {}, columns, ((10_000, 1800.0, 25.0),))


TRACE: Script = {
    "describe_data": describe(TRACED, 0.04),
    "spend_by": bare_spend,
    "reprice": reprice,
    "spend_over_time": over_time,
    "token_distribution": bare_sizes,
    "calculate": calculate,
    "chart": chart,
}


class Anything(BaseModel):
    """Whatever arguments there are."""

    model_config = ConfigDict(extra="allow")


def tools(script: Script) -> tuple[Tool, ...]:
    """Return the tools that answer by this script."""
    return tuple(_tool(name, answer) for name, answer in script.items())


def _tool(name: str, answer: Callable[[str, dict[str, Any]], ToolResult]) -> Tool:
    async def call(ctx: ToolContext, arguments: Anything) -> ToolResult:
        return answer(ctx.call_id, arguments.model_extra or {})

    return Tool(name, f"Do {name}.", Anything, call, effect=Effect.READ)
