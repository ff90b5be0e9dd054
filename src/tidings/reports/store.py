"""Reports in the warm tier."""

import msgspec

from tidings.domain.context import UserContext
from tidings.reports.report import Report
from tidings.storage.warm.objects import Kind, fetch_owned
from tidings.storage.warm.port import Transaction


async def save(tx: Transaction, context: UserContext, report: Report, now: float) -> None:
    """Keep a report as the user's; saving it again changes nothing."""
    await tx.execute(
        "insert into reports (report_id, user_id, run_id, body, created_at)"
        " values (?, ?, ?, ?, ?) on conflict (report_id) do nothing",
        report.report_id,
        context.user_id,
        report.run_id,
        msgspec.json.encode(report),
        now,
    )


async def load(tx: Transaction, context: UserContext, report_id: str) -> Report:
    """Return the user's report.

    Raises:
        NotFound: no such report, or somebody else's.
    """
    (body,) = await fetch_owned(tx, context, Kind.REPORT, report_id, "body")
    return msgspec.json.decode(body, type=Report)
