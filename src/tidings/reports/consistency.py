"""Whether the facts of a call agree: parts and totals, shares, savings, quantiles."""

from collections.abc import Iterator, Mapping
from itertools import pairwise

from tidings.domain.facts import Fact, Table, ToolResult, Unit, Value

TOLERANCE = 0.005

_SHARES = ("share", "coverage", "failed_share", "duplicate_share")
_TOTALS = {"cost_usd": "total_usd"}
_ADDABLE = {Unit.USD, Unit.TOKENS, Unit.REQUESTS}
_ORDERED = (
    ("p50", "p90", "p95", "p99", "max"),
    ("saving_usd", "current_usd"),
    ("duplicates", "requests"),
    ("retried_requests", "requests"),
)

Check = tuple[bool, str]


def checks(call_id: str, result: ToolResult) -> Iterator[Check]:
    """Yield every check that applies to a result: whether it holds, and what is wrong if not."""
    scalars = {_name(fact): fact for fact in result.facts}
    yield from _ordered(call_id, {name: fact.value for name, fact in scalars.items()})
    for name, fact in scalars.items():
        if fact.unit is Unit.RATIO and name in _SHARES:
            yield _is_share(f"{call_id}.{name}", fact.value)
    if result.table is not None:
        yield from _table(call_id, result.table, scalars)


def _table(call_id: str, table: Table, scalars: Mapping[str, Fact]) -> Iterator[Check]:
    for at, column in enumerate(table.columns):
        cells = [row[at] for row in table.rows]
        total = scalars.get(_TOTALS.get(column.name, column.name))
        if total is not None and total.unit is column.unit and column.unit in _ADDABLE:
            whole = _number(total.value)
            held = whole is None or sum(_number(c) or 0.0 for c in cells) <= _at_most(whole)
            yield held, f"The parts in {call_id}.{column.name} exceed their total {total.id}."
        if column.name in _SHARES:
            for row, cell in enumerate(cells):
                yield _is_share(f"{call_id}.r{row}.{column.name}", cell)
    for row, cells_of_row in enumerate(table.rows):
        named = {c.name: value for c, value in zip(table.columns, cells_of_row, strict=True)}
        yield from _ordered(f"{call_id}.r{row}", named)


def _ordered(owner: str, values: Mapping[str, Value]) -> Iterator[Check]:
    for names in _ORDERED:
        for suffix in ("", "_ms"):
            for prefix in ("", "input_", "output_", "ttft_"):
                present = [
                    f"{prefix}{n}{suffix}" for n in names if f"{prefix}{n}{suffix}" in values
                ]
                for smaller, larger in pairwise(present):
                    low, high = _number(values[smaller]), _number(values[larger])
                    if low is not None and high is not None:
                        yield low <= _at_most(high), f"{owner}.{smaller} exceeds {owner}.{larger}."


def _is_share(name: str, value: Value) -> Check:
    number = _number(value)
    return (
        number is None or 0 <= number <= 1 + TOLERANCE,
        f"The share {name} is not within 0 and 1.",
    )


def _at_most(value: float) -> float:
    return value + abs(value) * TOLERANCE + 1e-9


def _number(value: Value) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _name(fact: Fact) -> str:
    return fact.id.partition(".")[2]
