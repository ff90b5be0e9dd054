"""Finished reports, as Markdown, HTML or JSON."""

from fastapi import APIRouter, Response

from tidings.gateway.http.callers import Caller, Collaborators
from tidings.reports.service import Format

router = APIRouter(prefix="/api/reports", tags=["reports"])

HTML_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@router.get("/{report_id}")
async def get_report(
    report_id: str,
    context: Caller,
    into: Collaborators,
    format: Format = "md",
) -> Response:
    """Return a report; the HTML can neither run nor fetch anything."""
    document = await into.reports.document(context, report_id, format)
    headers = {"Content-Disposition": f'attachment; filename="{document.filename}"'}
    if format == "html":
        headers = {"Content-Disposition": "inline", "Content-Security-Policy": HTML_POLICY}
    return Response(document.body, 200, headers, document.content_type)
