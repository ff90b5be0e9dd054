"""Text with placeholders becomes text with figures: {{fact:ID}}, {{table:CALL}}, {{chart:CALL}}."""

import re
from collections.abc import Mapping
from typing import Protocol

import msgspec
from markdown_it import MarkdownIt

from tidings.domain.facts import Column, Fact, Table, ToolResult, Unit
from tidings.reports.figures import PLACEHOLDER, Grounds, LineJudge, ungrounded
from tidings.reports.values import escaped, plain, write, written

MAX_TABLE_ROWS = 30
MAX_LINE_CHARS = 20_000
UNKNOWN = "[unknown figure]"

_LINK = re.compile(r"\](?=[(\[]|\Z)|^ {0,3}(?=\[[^\]]{0,999}\]:)", re.MULTILINE)
_TAG = re.compile(r"<(?=[A-Za-z/!?]|\Z)")
_READER = MarkdownIt("commonmark", {"html": True}).enable("table")
_ACTIVE = frozenset({"html_block", "html_inline", "image", "link_open"})


class Flaw(msgspec.Struct, frozen=True):
    """What is wrong with a text: a stable code, and a sentence that tells its writer what to do."""

    code: str
    message: str


class Rendered(msgspec.Struct, frozen=True):
    """Markdown without placeholders and without links; the facts, tables and charts it shows."""

    text: str
    used: tuple[str, ...]
    findings: tuple[Flaw, ...]
    tables: tuple[str, ...] = ()
    charts: tuple[str, ...] = ()


class Writer(Protocol):
    """How a format writes text, a fact, a table and a chart."""

    def text(self, text: str) -> str:
        """Return the words between placeholders."""
        ...

    def fact(self, fact: Fact) -> str:
        """Return a fact's value."""
        ...

    def table(self, call_id: str, table: Table) -> str:
        """Return the table of a call."""
        ...

    def chart(self, call_id: str, chart: dict[str, object]) -> str:
        """Return the chart of a call."""
        ...


def render(text: str, facts: Mapping[str, Fact], results: Mapping[str, ToolResult]) -> Rendered:
    """Return the text as Markdown for people; what is unknown is shown as such, and a finding."""
    rendered = render_with(MarkdownWriter(disarming=False), text, facts, results)
    if _is_armed(rendered.text):
        return render_with(MarkdownWriter(disarming=True), text, facts, results)
    return rendered


def render_with(
    writer: Writer, text: str, facts: Mapping[str, Fact], results: Mapping[str, ToolResult]
) -> Rendered:
    """Return the text as the writer writes it."""
    placing = _Placing(writer, facts, results)
    pieces: list[str] = []
    end = 0
    for match in PLACEHOLDER.finditer(text):
        pieces += [placing.words(text[end : match.start()]), placing.placed(match[1], match[2])]
        end = match.end()
    pieces.append(placing.words(text[end:]))
    return Rendered(
        text="".join(pieces),
        used=tuple(dict.fromkeys(placing.used["fact"])),
        findings=tuple(dict.fromkeys(placing.findings)),
        tables=tuple(dict.fromkeys(placing.used["table"])),
        charts=tuple(dict.fromkeys(placing.used["chart"])),
    )


def chart_title(chart: Mapping[str, object]) -> str:
    """Return the title a chart's specification carries, as plain text."""
    title = chart.get("title")
    if isinstance(title, Mapping):
        title = title.get("text")
    return plain(title) if isinstance(title, str) else ""


class DraftStream:
    """Shows a draft while it is written: whole lines, figures placed, and nothing invented.

    From the first line with an ungrounded figure or an unknown placeholder on nothing more is
    shown: the answer will be revised.
    """

    def __init__(
        self, question: str, facts: Mapping[str, Fact], results: Mapping[str, ToolResult]
    ) -> None:
        self._facts, self._results = facts, results
        self._grounds = Grounds.of(question, facts)
        self._lines = LineJudge(self._grounds)
        self._pending = ""
        self.withheld = False

    def feed(self, piece: str) -> str:
        """Take the next piece of raw text; return what may now be shown."""
        *lines, self._pending = (self._pending + piece).split("\n")
        shown = "".join(self._show(line + "\n") for line in lines)
        if len(self._pending) > MAX_LINE_CHARS:
            self.withheld, self._pending = True, ""
        return shown

    def close(self) -> str:
        """Return what may be shown of the last line, which no newline ended."""
        last, self._pending = self._pending, ""
        return self._show(last) if last else ""

    def _show(self, line: str) -> str:
        if self.withheld:
            return ""
        writer = MarkdownWriter(disarming=True)
        rendered = render_with(writer, line, self._facts, self._results)
        titles = "\n".join(chart_title(self._results[c].chart or {}) for c in rendered.charts)
        if rendered.findings or self._lines.judge(line) or ungrounded(titles, self._grounds):
            self.withheld = True
            return ""
        return rendered.text


class MarkdownWriter:
    """Plain Markdown with values escaped; `disarming` turns links, images and tags into text."""

    def __init__(self, *, disarming: bool) -> None:
        self._disarming = disarming

    def text(self, text: str) -> str:
        """Return the words, disarmed if need be."""
        if not self._disarming:
            return text
        return _TAG.sub("&lt;", _LINK.sub(lambda m: f"{m[0]}\\", text))

    def fact(self, fact: Fact) -> str:
        """Write the value."""
        return escaped(written(fact))

    def table(self, call_id: str, table: Table) -> str:  # noqa: ARG002 - Markdown has no anchors
        """Write a pipe table."""
        return f"\n\n{markdown_table(table)}\n\n"

    def chart(self, call_id: str, chart: dict[str, object]) -> str:  # noqa: ARG002 - see above
        """Name the chart; formats that can show it do."""
        return f"\n\n*Chart: {escaped(chart_title(chart)) or 'untitled'}*\n\n"


def markdown_table(table: Table) -> str:
    """Return the first rows of a table as Markdown, figures to the right."""
    rows = [
        [escaped(write(value, c.unit)) for value, c in zip(row, table.columns, strict=True)]
        for row in table.rows[:MAX_TABLE_ROWS]
    ]
    lines = [
        [escaped(plain(column.label or column.name)) for column in table.columns],
        ["---" if is_text(column) else "---:" for column in table.columns],
        *rows,
    ]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    left_out = len(table.rows) - len(rows)
    if left_out or table.truncated:
        more = f"{left_out:,} more rows" if left_out else "more rows"
        text += f"\n\n*The first {len(rows):,} rows; {more} in the data.*"
    return text


def _is_armed(text: str) -> bool:
    """Return whether a reader of Markdown would see a link, an image or HTML in the text."""
    tokens = _READER.parse(text)
    inline = (child for token in tokens for child in token.children or [])
    return any(token.type in _ACTIVE for token in (*tokens, *inline))


def is_text(column: Column) -> bool:
    """Return whether a column holds words rather than figures."""
    return column.unit in {Unit.NAME, Unit.TIME}


class _Placing:
    """One pass over a text: what was placed, and what was not there to place."""

    def __init__(
        self, writer: Writer, facts: Mapping[str, Fact], results: Mapping[str, ToolResult]
    ) -> None:
        self._writer, self._facts, self._results = writer, facts, results
        self.used: dict[str, list[str]] = {"fact": [], "table": [], "chart": []}
        self.findings: list[Flaw] = []

    def words(self, text: str) -> str:
        if "{{" in text or "}}" in text:
            self.findings.append(
                Flaw("malformed_placeholder", "Write placeholders exactly as {{fact:ID}}.")
            )
        return self._writer.text(text)

    def placed(self, kind: str, key: str) -> str:
        result = self._results.get(key)
        text: str | None = None
        if kind == "fact" and key in self._facts:
            text = self._writer.fact(self._facts[key])
        elif kind == "table" and result is not None and result.table is not None:
            text = self._writer.table(key, result.table)
        elif kind == "chart" and result is not None and result.chart is not None:
            text = self._writer.chart(key, result.chart)
        if text is None:
            self.findings.append(
                Flaw(f"unknown_{kind}", f"There is no {kind} named {plain(key)}: use a known id.")
            )
            return UNKNOWN
        self.used[kind].append(key)
        return text
