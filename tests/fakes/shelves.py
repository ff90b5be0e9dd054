"""Files and reports kept in memory, by owner."""

from collections.abc import AsyncIterator
from typing import Any

from tidings.domain.context import UserContext
from tidings.domain.errors import NotFound
from tidings.reports.service import Document, Format


class MemoryFiles:
    """Keeps what arrives whole; remembers uploads that broke off."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], dict[str, Any]] = {}
        self.begun = 0
        self.largest_chunk = 0

    async def add(self, context: UserContext, name: str, chunks: AsyncIterator[bytes]) -> Any:
        self.begun += 1
        size, content = 0, bytearray()
        async for chunk in chunks:
            size += len(chunk)
            self.largest_chunk = max(self.largest_chunk, len(chunk))
            content += chunk[:64]
        file_id = f"f_{len(self.kept)}"
        file = {"file_id": file_id, "name": name, "bytes": size, "begins": bytes(content[:64])}
        self.kept[context.user_id, file_id] = file
        return file

    async def list(self, context: UserContext) -> Any:
        return [file for (owner, _), file in self.kept.items() if owner == context.user_id]

    async def get(self, context: UserContext, file_id: str) -> Any:
        if (context.user_id, file_id) not in self.kept:
            raise NotFound
        return self.kept[context.user_id, file_id]

    async def delete(self, context: UserContext, file_id: str) -> None:
        await self.get(context, file_id)
        del self.kept[context.user_id, file_id]


class MemoryReports:
    """Has the reports it is given; a report named `broken` cannot be read."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}

    async def document(
        self, context: UserContext, report_id: str, report_format: Format
    ) -> Document:
        if report_id == "broken":
            raise RuntimeError("secret detail of the inside")
        if (context.user_id, report_id) not in self.kept:
            raise NotFound
        body = f"{report_format}: {self.kept[context.user_id, report_id]}".encode()
        kind = {"md": "text/markdown", "html": "text/html", "json": "application/json"}
        return Document(body, kind[report_format], f"{report_id}.{report_format}")
