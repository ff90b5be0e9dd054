"""Calculate: arithmetic over facts, and nothing else."""

import asyncio
from typing import Any

import pytest

from tests.tools.workshop import ALICE
from tidings.domain.errors import InvalidInput
from tidings.domain.facts import Fact, ToolResult, Unit, Value
from tidings.domain.permissions import Effect
from tidings.tools.calculate import calculate
from tidings.tools.catalogue import Catalogue
from tidings.tools.port import ToolContext, tool

CATALOGUE = Catalogue([tool(effect=Effect.READ)(calculate)])


def fact(name: str, value: Value, rows: int = 10) -> Fact:
    return Fact(name, value, Unit.USD, name, "spend_by", name.partition(".")[0], "select 1", rows)


FACTS = {
    f.id: f
    for f in (
        fact("c2.total_usd", 84.0, rows=40),
        fact("c1.days", 7.0),
        fact("c2.r0.cost_usd", 21),
        fact("c1.first_ts", "2024-01-01T00:00:00Z"),
        fact("c1.zero", 0),
        fact("c1.nothing", None),
    )
}


def computed(expression: str, **more: Any) -> ToolResult:
    arguments = {"expression": expression, "unit": "usd", "label": "a month", **more}
    _, values = CATALOGUE.check("calculate", arguments)
    context = ToolContext(ALICE, "run_1", "c3", "key", (), FACTS, {})
    return asyncio.run(calculate(context, **dict(values)))


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("c2.total_usd / c1.days * 30", 360.0),
        ("c2.r0.cost_usd / c2.total_usd", 0.25),
        ("-(2 - 5) * 4", 12),
        ("max(c1.days, 3, min(9, 8))", 8),
        ("round(2 / 3, 2)", 0.67),
        ("round(2.6)", 3),
        ("1e3 + 0.5", 1000.5),
    ],
)
def test_arithmetic_over_facts_gives_a_fact(expression: str, value: float) -> None:
    [made] = computed(expression).facts
    assert made.value == pytest.approx(value)


def test_the_fact_tells_formula_values_and_rows() -> None:
    [made] = computed("c2.total_usd / c1.days", name="per_day").facts
    assert (made.id, made.unit, made.label) == ("c3.per_day", Unit.USD, "a month")
    assert made.source == "c2.total_usd / c1.days where c2.total_usd = 84.0, c1.days = 7.0"
    assert made.rows == 40


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("c9.total_usd", "unknown_fact"),
        ("days", "unknown_fact"),
        ("c1.days / c1.zero", "division_by_zero"),
        ("1 / (2 - 2)", "division_by_zero"),
        ("c1.first_ts + 1", "not_a_number"),
        ("c1.nothing * 2", "not_a_number"),
        ("1e308 * 10", "not_a_number"),
        ("9" * 400, "not_a_number"),
        ("c1.days +", "invalid_expression"),
        ("2 ** 99", "invalid_expression"),
        ("'a' * 9", "invalid_expression"),
        ("True + 1", "invalid_expression"),
        ("__import__('os')", "invalid_expression"),
        ("[1][0]", "invalid_expression"),
        ("min()", "invalid_expression"),
        ("round(1, 2, 3)", "invalid_expression"),
        ("round(1, 0.5)", "invalid_expression"),
        ("round(1, 99)", "invalid_expression"),
        ("lambda: 1", "invalid_expression"),
        ("1\n2", "invalid_expression"),
        ("-" * 400 + "1", "invalid_expression"),
        ("(" * 240 + "1" + ")" * 240, "invalid_expression"),
        ("c1.days.__class__", "unknown_fact"),
    ],
)
def test_anything_else_is_refused_by_code(expression: str, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        computed(expression)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "more", [{"name": "No"}, {"name": "a.b"}, {"unit": "euros"}, {"label": ""}]
)
def test_a_fact_needs_a_name_a_unit_and_a_label(more: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(more))):
        computed("1", **more)
