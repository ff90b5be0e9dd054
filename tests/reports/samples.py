"""A small finished run: what its tools found, and a draft about it."""

from tidings.domain.facts import Column, Fact, Table, ToolResult, Unit, Value, all_facts
from tidings.reports.report import Brief

QUESTION = "Cut my cost by 20 %, keep quality; chat tolerates 500 ms more."
SQL = "select feature, sum(cost_usd) from usage group by feature order by 2 desc"


def fact(id_: str, value: Value, unit: Unit = Unit.USD, label: str = "Total spend") -> Fact:
    call = id_.partition(".")[0]
    return Fact(id_, value, unit, label, "spend_by", call, SQL, 10_000)


SPEND = Table(
    columns=(
        Column("feature", Unit.NAME, "Feature"),
        Column("requests", Unit.REQUESTS, "Requests"),
        Column("cost_usd", Unit.USD, "Cost"),
        Column("share", Unit.RATIO, "Share of cost"),
    ),
    rows=(
        ("classify_ticket", 6120, 812.5, 0.658),
        ("chat", 2900, 391.06, 0.317),
        ("<script>alert(1)</script> | **x**", 980, 31.0, 0.025),
    ),
)
CHART = {
    "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
    "title": "Cost by feature",
    "data": {"values": [{"feature": r[0], "cost_usd": r[2]} for r in SPEND.rows]},
    "mark": "bar",
    "encoding": {
        "x": {"field": "cost_usd", "type": "quantitative", "title": "Cost in USD"},
        "y": {"field": "feature", "type": "nominal", "sort": "-x", "title": None},
    },
}
RESULTS = {
    "c2": ToolResult(
        summary="Spend by feature.",
        facts=(fact("c2.total_usd", 1234.56), fact("c2.requests", 10_000, Unit.REQUESTS)),
        table=SPEND,
        notes=("No price is known for model in-house-7b: its requests are left out.",),
        source=SQL,
        rows=10_000,
    ),
    "c3": ToolResult(
        summary="classify_ticket on a smaller model.",
        facts=(
            fact("c3.current_usd", 812.5, label="Cost now"),
            fact("c3.repriced_usd", 48.75, label="Cost on gpt-4o-mini"),
            fact("c3.saving_usd", 763.75, label="Saving"),
            fact("c3.saving_share", 0.94, Unit.RATIO, "Share saved"),
        ),
        source="sum(input_tokens * price_in + output_tokens * price_out)",
        rows=6120,
    ),
    "c4": ToolResult(summary="A chart.", chart=CHART, source="chart of c2", rows=3),
}
FACTS = {f.id: f for call, result in RESULTS.items() for f in all_facts("spend_by", call, result)}
DRAFT = """## Where the money goes

You spent **{{fact:c2.total_usd}}** on {{fact:c2.requests}} requests. The feature
{{fact:c2.r0.feature}} alone takes {{fact:c2.r0.share}} of the cost, and it runs on gpt-4o.

{{table:c2}}

{{chart:c4}}

## What would cut the cost by 20 %

Moving {{fact:c2.r0.feature}} to `gpt-4o-mini` would save {{fact:c3.saving_usd}}
({{fact:c3.saving_share}} of its {{fact:c3.current_usd}}) and keep chat as it is. Its quality is
not measured in your data, so that is a price, not a promise.

## Next actions

1. Move {{fact:c2.r0.feature}} to the smaller model for a trial, and compare its answers.
2. Add a quality score to your log, so that the next report can weigh price against quality.
3. Leave chat where it is until latency has been measured with the 500 ms it tolerates.
"""
BRIEF = Brief(
    report_id="rep_1",
    run_id="run_1",
    created_at=1_700_000_000.0,
    question=QUESTION,
    template=DRAFT,
    model="built-in planner",
    title="Most of the spend is one feature on a dear model",
    asked=("cut cost by 20 %", "keep quality", "chat tolerates 500 ms"),
)
