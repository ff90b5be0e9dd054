"""A report as one self-contained HTML page: no script, nothing remote, every figure clickable.

Safe by three layers: Markdown is converted with HTML, links and images off; the result, figures
placed, passes an allow-list last; and the page's own policy forbids scripts and any request.
"""

import base64
import hashlib
import html
import re
from collections.abc import Mapping
from importlib.resources import files

import nh3
from markdown_it import MarkdownIt

from tidings.domain.facts import Fact, Table
from tidings.reports.markdown import MAX_QUESTION_CHARS, byline, sources
from tidings.reports.render import MAX_TABLE_ROWS, is_text, render_with
from tidings.reports.report import PlacedFact, Report
from tidings.reports.values import plain, write, written

_CSS = files("tidings.reports").joinpath("report.css").read_text(encoding="utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_CSS.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'"
)
_MARKDOWN = (
    MarkdownIt("commonmark", {"html": False})
    .enable(["table", "strikethrough"])
    .disable(["link", "image", "autolink", "reference", "html_inline", "html_block"])
)
_TAGS = {
    "a", "article", "blockquote", "br", "caption", "code", "dd", "details", "dl", "div", "dt", "em",
    "figcaption", "figure", "footer", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li",
    "ol", "p", "pre", "s", "section", "span", "strong", "summary", "table", "tbody", "td", "th",
    "thead", "tr", "ul",
}  # fmt: skip
_ATTRIBUTES = {
    "*": {"class", "id", "title"},
    "a": {"href"},
    "ol": {"start"},
    "details": {"open"},
}
_OPEN, _CLOSE = "\ue000", "\ue001"
_SLOT = re.compile(f"{_OPEN}([0-9]+){_CLOSE}")
_BLOCK_SLOT = re.compile(f"<p>\\s*({_OPEN}[0-9]+{_CLOSE})\\s*</p>")
_DRAWING_SLOT = re.compile("\ue002([0-9]+)\ue003")
_PRIVATE = re.compile("[\ue000-\ue003]")


def to_html(report: Report, svgs: Mapping[str, str]) -> str:
    """Return the page; `svgs` are the clean drawings of its charts, by call."""
    page = _Page(report)
    body = page.body()
    safe = nh3.clean(
        body,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        attribute_filter=_own_anchor,
        url_schemes=set(),
        link_rel=None,
    )
    drawn = _DRAWING_SLOT.sub(lambda m: _drawing(report.charts[int(m[1])].call_id, svgs), safe)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{_text(report.title)}</title>\n<style>{_CSS}</style>\n</head>\n"
        f"<body>\n{drawn}\n</body>\n</html>\n"
    )


class _Page:
    """Writes the parts of a page; what it places is kept aside until Markdown is HTML."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._slots: list[str] = []

    def body(self) -> str:
        """Return the page's body, not yet cleaned."""
        report = self._report
        notes = _items("What limits this answer", report.notes)
        findings = _items("Findings of the quality gate", report.findings)
        asked = plain(report.question, MAX_QUESTION_CHARS)
        quote = f'<blockquote class="question">{_text(asked)}</blockquote>'
        return (
            f'<article><header><p class="kicker">{_kicker(report)}</p>'
            f"<h1>{_text(report.title)}</h1>"
            f"{quote if asked != report.title else ''}</header>"
            f"<section>{self._answer()}</section>{notes}{findings}{_appendix(report)}"
            f"<footer>{_MARKDOWN.renderInline(byline(report))}</footer></article>"
        )

    def text(self, text: str) -> str:
        """Return the model's words; the characters that mark slots are ours."""
        return _PRIVATE.sub("", text)

    def fact(self, fact: Fact) -> str:
        """Return the slot of a value that leads to its provenance."""
        title = _text(f"{plain(fact.label)} · {plain(fact.tool)} · {plain(fact.source)}")
        link = f'<a class="fact" href="#{_anchor(fact.id)}" title="{title}">'
        return self._slot(f"{link}{_text(written(fact))}</a>")

    def table(self, call_id: str, table: Table) -> str:
        """Return the slot of a table."""
        caption = f'<figcaption><a href="#{_anchor(call_id)}">{_rows_shown(table)}</a></figcaption>'
        return self._block(f'<figure class="table">{_table(table)}{caption}</figure>')

    def chart(self, call_id: str, chart: dict[str, object]) -> str:  # noqa: ARG002 - drawn apart
        """Return the slot of a chart."""
        at = next(n for n, c in enumerate(self._report.charts) if c.call_id == call_id)
        title = _text(self._report.charts[at].title) or "Chart"
        return self._block(
            f'<figure class="chart"><figcaption><a href="#{_anchor(call_id)}">{title}</a>'
            f'</figcaption><div class="plot">\ue002{at}\ue003</div></figure>'
        )

    def _answer(self) -> str:
        report = self._report
        rendered = render_with(self, report.template, report.named_facts(), report.results())
        page = _MARKDOWN.render(rendered.text).replace(
            ' style="text-align:right"', ' class="figure"'
        )
        page = _BLOCK_SLOT.sub(r"\1", page)
        return _SLOT.sub(lambda m: self._slots[int(m[1])], page)

    def _slot(self, content: str) -> str:
        self._slots.append(content)
        return f"{_OPEN}{len(self._slots) - 1}{_CLOSE}"

    def _block(self, content: str) -> str:
        return f"\n\n{self._slot(content)}\n\n"


def _table(table: Table) -> str:
    classes = ['class="text"' if is_text(column) else 'class="figure"' for column in table.columns]
    head = "".join(
        f"<th {kind}>{_text(plain(c.label or c.name))}</th>"
        for kind, c in zip(classes, table.columns, strict=True)
    )
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td {kind}>{_text(write(value, c.unit))}</td>"
            for kind, value, c in zip(classes, row, table.columns, strict=True)
        )
        + "</tr>"
        for row in table.rows[:MAX_TABLE_ROWS]
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _rows_shown(table: Table) -> str:
    if len(table.rows) > MAX_TABLE_ROWS or table.truncated:
        return f"The first {min(len(table.rows), MAX_TABLE_ROWS)} rows · where they come from"
    return "Where these figures come from"


def _kicker(report: Report) -> str:
    score = f"quality {report.quality.score:.2f}"
    return f'<span class="{report.status}">{report.status}</span> {report.kind} · {score}'


def _items(heading: str, items: tuple[str, ...]) -> str:
    if not items:
        return ""
    points = "".join(f"<li>{_text(item)}</li>" for item in items)
    return f"<section><h2>{heading}</h2><ul>{points}</ul></section>"


def _appendix(report: Report) -> str:
    found = sources(report)
    rows = "".join(_provenance(fact, found) for fact in report.facts)
    for table in report.tables:
        cells = ("table", "Every figure in the table", table.tool, f"{table.rows:,}")
        rows += _row(table.call_id, cells, table.call_id)
    for chart in report.charts:
        cells = ("chart", chart.title, chart.tool, f"{chart.rows:,}")
        rows += _row(chart.call_id, cells, chart.call_id)
    if not rows:
        return ""
    queries = "".join(
        f'<details open="" id="{_anchor("source-" + key)}"><summary>{_text(plain(key))}</summary>'
        f"<pre><code>{_text(source)}</code></pre></details>"
        for key, source in found.items()
    )
    return (
        '<section class="provenance"><h2>Where the figures come from</h2>'
        '<figure class="table"><table>'
        '<thead><tr><th class="figure">Figure</th><th>What it is</th><th>Tool</th>'
        f'<th class="figure">Rows read</th><th>Source</th></tr></thead><tbody>{rows}</tbody>'
        f"</table></figure><h3>Queries and formulas</h3>{queries}</section>"
    )


def _provenance(fact: PlacedFact, found: Mapping[str, str]) -> str:
    source = fact.id if fact.id in found else fact.call_id
    return _row(fact.id, (fact.formatted, fact.label, fact.tool, f"{fact.rows:,}"), source)


def _row(key: str, cells: tuple[str, str, str, str], source: str) -> str:
    figure, label, tool, rows = (_text(plain(cell)) for cell in cells)
    return (
        f'<tr id="{_anchor(key)}"><td class="figure">{figure}</td><td>{label}</td>'
        f'<td><code>{tool}</code></td><td class="figure">{rows}</td>'
        f'<td><a href="#{_anchor("source-" + source)}"><code>{_text(plain(source))}</code></a></td>'
        "</tr>"
    )


def _anchor(key: str) -> str:
    """Return an id for the page, one to one with the key."""
    return "fact-" + re.sub(
        r"[^A-Za-z0-9.-]", lambda m: m[0] if m[0] == "_" else f"_{ord(m[0]):x}_", key
    )


def _own_anchor(tag: str, attribute: str, value: str) -> str | None:
    return value if (tag, attribute) != ("a", "href") or value.startswith("#") else None


def _drawing(call_id: str, svgs: Mapping[str, str]) -> str:
    return svgs.get(call_id, "<p>This chart could not be drawn.</p>")


def _text(text: str) -> str:
    return html.escape(_PRIVATE.sub("", text))
