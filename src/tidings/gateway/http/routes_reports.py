"""Finished reports, as Markdown, HTML or JSON."""

from typing import Literal

from fastapi import APIRouter, Response

from tidings.gateway.http.callers import Caller, Collaborators

router = APIRouter(prefix="/api/reports", tags=["reports"])

HTML_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TYPES = {
    "md": "text/markdown; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "json": "application/json",
}


@router.get("/{report_id}")
async def get_report(
    report_id: str,
    context: Caller,
    into: Collaborators,
    format: Literal["md", "html", "json"] = "md",
) -> Response:
    """Return a report; the HTML can neither run nor fetch anything."""
    text = await into.reports.get(context, report_id, format)
    headers = {"Content-Disposition": f'attachment; filename="report.{format}"'}
    if format == "html":
        headers = {"Content-Disposition": "inline", "Content-Security-Policy": HTML_POLICY}
    return Response(text, 200, headers, _TYPES[format])
