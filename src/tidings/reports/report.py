"""A report: the answer, and everything that shows where its figures come from."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from tidings.domain.facts import Fact, Table, ToolResult, Unit, Value, all_facts
from tidings.reports.actions import action_items
from tidings.reports.figures import Grounds, ungrounded
from tidings.reports.gate import Kind, Quality, judge
from tidings.reports.render import Rendered, chart_title, render
from tidings.reports.values import plain, written

MAX_NOTES = 50
MAX_NOTE_CHARS = 500

Status = Literal["completed", "degraded"]


class Brief(msgspec.Struct, frozen=True, kw_only=True):
    """What the writer of a report hands in.

    `template` is the text with its placeholders, `model` who wrote it, `asked` the needs it must
    address, `created_at` seconds since 1970 UTC.
    """

    report_id: str
    run_id: str
    created_at: float
    question: str
    template: str
    model: str
    title: str = ""
    asked: tuple[str, ...] = ()
    kind: Kind = "analysis"
    status: Status = "completed"


class PlacedFact(msgspec.Struct, frozen=True):
    """A fact the report states: raw and formatted, with its provenance."""

    id: str
    value: Value
    formatted: str
    unit: Unit
    label: str
    tool: str
    call_id: str
    source: str
    rows: int


class PlacedTable(msgspec.Struct, frozen=True):
    """A table the report shows, with its provenance."""

    call_id: str
    tool: str
    table: Table
    source: str
    rows: int


class PlacedChart(msgspec.Struct, frozen=True):
    """A chart the report shows: a Vega-Lite specification, with its provenance."""

    call_id: str
    tool: str
    title: str
    spec: dict[str, Any]
    source: str
    rows: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A finished report; `text` is Markdown for people, `template` the same with placeholders."""

    report_id: str
    run_id: str
    title: str
    question: str
    status: Status
    kind: Kind
    model: str
    template: str
    text: str
    facts: tuple[PlacedFact, ...]
    tables: tuple[PlacedTable, ...]
    charts: tuple[PlacedChart, ...]
    quality: Quality
    findings: tuple[str, ...]
    notes: tuple[str, ...]
    next_actions: tuple[str, ...]
    created_at: float

    def named_facts(self) -> dict[str, Fact]:
        """Return the facts by id, as the renderer takes them."""
        return {
            f.id: Fact(f.id, f.value, f.unit, f.label, f.tool, f.call_id, f.source, f.rows)
            for f in self.facts
        }

    def results(self) -> dict[str, ToolResult]:
        """Return the tables and charts by call, as the renderer takes them."""
        found = {
            t.call_id: ToolResult(summary="", table=t.table, source=t.source, rows=t.rows)
            for t in self.tables
        }
        for chart in self.charts:
            result = found.get(chart.call_id, ToolResult(summary=""))
            found[chart.call_id] = msgspec.structs.replace(result, chart=chart.spec)
        return found


def compose(brief: Brief, facts: Mapping[str, Fact], results: Mapping[str, ToolResult]) -> Report:
    """Render and judge the brief's template, and keep what it shows with its provenance."""
    rendered = render(brief.template, facts, results)
    quality = judge(brief.template, brief.question, facts, results, brief.asked, kind=brief.kind)
    tools = {fact.call_id: fact.tool for fact in facts.values()}
    actions = action_items(brief.template)
    return Report(
        report_id=brief.report_id,
        run_id=brief.run_id,
        title=_title(brief, Grounds.of(brief.question, facts)),
        question=brief.question,
        status=brief.status,
        kind=brief.kind,
        model=brief.model,
        template=brief.template,
        text=rendered.text,
        facts=tuple(_placed(facts[key]) for key in rendered.used),
        tables=_tables(rendered, results, tools),
        charts=_charts(rendered, results, tools),
        quality=quality,
        findings=quality.findings,
        notes=_notes(results),
        next_actions=tuple(render(action, facts, results).text for action in actions),
        created_at=brief.created_at,
    )


def to_json(report: Report) -> bytes:
    """Return the report as JSON; `facts` lists every figure shown, cells of tables included."""
    cells = [
        _placed(fact)
        for shown in report.tables
        for fact in all_facts(shown.tool, shown.call_id, _as_result(shown))
    ]
    known = {fact.id for fact in report.facts}
    facts = (*report.facts, *(cell for cell in cells if cell.id not in known))
    return msgspec.json.encode(msgspec.structs.replace(report, facts=facts))


def _title(brief: Brief, grounds: Grounds) -> str:
    """Return the given title if it states no figure of its own, else the question."""
    title = plain(brief.title)
    return title if title and not ungrounded(title, grounds) else plain(brief.question)


def _placed(fact: Fact) -> PlacedFact:
    return PlacedFact(
        id=fact.id,
        value=fact.value,
        formatted=written(fact),
        unit=fact.unit,
        label=fact.label,
        tool=fact.tool,
        call_id=fact.call_id,
        source=fact.source,
        rows=fact.rows,
    )


def _tables(
    rendered: Rendered, results: Mapping[str, ToolResult], tools: Mapping[str, str]
) -> tuple[PlacedTable, ...]:
    return tuple(
        PlacedTable(call, tools.get(call, ""), table, results[call].source, results[call].rows)
        for call in rendered.tables
        if (table := results[call].table) is not None
    )


def _charts(
    rendered: Rendered, results: Mapping[str, ToolResult], tools: Mapping[str, str]
) -> tuple[PlacedChart, ...]:
    return tuple(
        PlacedChart(
            call_id=call,
            tool=tools.get(call, "chart"),
            title=chart_title(spec),
            spec=spec,
            source=results[call].source,
            rows=results[call].rows,
        )
        for call in rendered.charts
        if (spec := results[call].chart) is not None
    )


def _notes(results: Mapping[str, ToolResult]) -> tuple[str, ...]:
    notes = (plain(note, MAX_NOTE_CHARS) for result in results.values() for note in result.notes)
    return tuple(dict.fromkeys(notes))[:MAX_NOTES]


def _as_result(shown: PlacedTable) -> ToolResult:
    return ToolResult(summary="", table=shown.table, source=shown.source, rows=shown.rows)
