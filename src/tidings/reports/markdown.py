"""A report as one Markdown document."""

import re
from datetime import UTC, datetime

from tidings.reports.report import Report
from tidings.reports.values import escaped, plain

MAX_SOURCE_CHARS = 4000
MAX_QUESTION_CHARS = 2000


def to_markdown(report: Report) -> str:
    """Return the answer, what limits it, and an appendix that says where its figures come from."""
    parts = [
        f"# {escaped(report.title)}",
        f"> {escaped(plain(report.question, MAX_QUESTION_CHARS))}",
        byline(report),
        report.text.strip(),
        _list("What limits this answer", report.notes),
        _list("Findings of the quality gate", report.findings),
        _appendix(report),
    ]
    return re.sub(r"\n{3,}", "\n\n", "\n\n".join(part for part in parts if part)) + "\n"


def byline(report: Report) -> str:
    """Return who wrote the report, when, and how good the gate found it."""
    written_at = datetime.fromtimestamp(report.created_at, UTC)
    return (
        f"Written by {escaped(plain(report.model))} on {written_at:%Y-%m-%d %H:%M} UTC · "
        f"{report.status} · quality {report.quality.score:.2f}"
    )


def sources(report: Report) -> dict[str, str]:
    """Return the query or formula behind the figures, by call or calculated fact."""
    found = {table.call_id: table.source for table in report.tables}
    found |= {chart.call_id: chart.source for chart in report.charts}
    for fact in report.facts:
        if found.setdefault(fact.call_id, fact.source) != fact.source:
            found[fact.id] = fact.source
    return {key: source[:MAX_SOURCE_CHARS] for key, source in found.items() if source}


def _list(heading: str, items: tuple[str, ...]) -> str:
    if not items:
        return ""
    return f"## {heading}\n\n" + "\n".join(f"- {escaped(item)}" for item in items)


def _appendix(report: Report) -> str:
    if not (report.facts or report.tables or report.charts):
        return ""
    rows = [
        (f.formatted, f.label, f"{f.tool} ({f.call_id})", f"{f.rows:,}", f.id) for f in report.facts
    ]
    rows += [
        ("table", "", f"{t.tool} ({t.call_id})", f"{t.rows:,}", t.call_id) for t in report.tables
    ]
    rows += [
        ("chart", c.title, f"{c.tool} ({c.call_id})", f"{c.rows:,}", c.call_id)
        for c in report.charts
    ]
    lines = [
        "| Figure | What it is | Tool (call) | Rows read | Id |",
        "| ---: | --- | --- | ---: | --- |",
    ]
    lines += [f"| {' | '.join(escaped(plain(cell)) for cell in row)} |" for row in rows]
    blocks = [
        f"**{escaped(plain(key))}**\n\n{_fenced(source)}" for key, source in sources(report).items()
    ]
    return "\n\n".join(["## Where the figures come from", "\n".join(lines), *blocks])


def _fenced(source: str) -> str:
    longest = max((len(run) for run in re.findall("`+", source)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sql\n{source.strip()}\n{fence}"
