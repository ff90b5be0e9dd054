"""Reports: figures placed from facts, judged by the gate, told in Markdown, HTML and JSON."""

from tidings.reports.gate import Quality, judge
from tidings.reports.html import to_html
from tidings.reports.markdown import to_markdown
from tidings.reports.render import DraftStream, Flaw, Rendered, render
from tidings.reports.report import Brief, Report, compose, to_json
from tidings.reports.service import Document, Reports
from tidings.reports.store import load, save

__all__ = [
    "Brief",
    "Document",
    "DraftStream",
    "Flaw",
    "Quality",
    "Rendered",
    "Report",
    "Reports",
    "compose",
    "judge",
    "load",
    "render",
    "save",
    "to_html",
    "to_json",
    "to_markdown",
]
