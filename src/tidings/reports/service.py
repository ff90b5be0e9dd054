"""Reports for whoever may read them, in the format they ask for."""

import asyncio
from typing import Literal

import msgspec

from tidings.domain.context import UserContext
from tidings.domain.ports import Clock
from tidings.reports.charts import draw
from tidings.reports.html import to_html
from tidings.reports.markdown import to_markdown
from tidings.reports.report import Report, to_json
from tidings.reports.store import load, save
from tidings.storage.warm.port import Database, Transaction

MAX_DRAWING = 2

Format = Literal["md", "html", "json"]


class Document(msgspec.Struct, frozen=True):
    """A report in one format, ready to be sent."""

    body: bytes
    content_type: str
    filename: str


class Reports:
    """The stored reports."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._drawing = asyncio.Semaphore(MAX_DRAWING)

    async def save(self, context: UserContext, report: Report) -> None:
        """Keep a report as the user's; saving it again changes nothing."""
        now = self._clock.now()
        await self._database.write(context, lambda tx: save(tx, context, report, now))

    async def get(self, context: UserContext, report_id: str) -> Report:
        """Return the user's report.

        Raises:
            NotFound: no such report, or somebody else's.
        """

        async def work(tx: Transaction) -> Report:
            return await load(tx, context, report_id)

        return await self._database.read(context, work)

    async def document(
        self, context: UserContext, report_id: str, report_format: Format
    ) -> Document:
        """Return the user's report as a file.

        Raises:
            NotFound: no such report, or somebody else's.
        """
        report = await self.get(context, report_id)
        if report_format == "json":
            body, content_type = to_json(report), "application/json"
        elif report_format == "md":
            body, content_type = to_markdown(report).encode(), "text/markdown; charset=utf-8"
        else:
            body, content_type = await self._page(report), "text/html; charset=utf-8"
        return Document(body, content_type, f"{report.report_id}.{report_format}")

    async def _page(self, report: Report) -> bytes:
        async with self._drawing:
            drawings = await draw([chart.spec for chart in report.charts])
        svgs = {
            chart.call_id: svg for chart, svg in zip(report.charts, drawings, strict=True) if svg
        }
        return to_html(report, svgs).encode()
