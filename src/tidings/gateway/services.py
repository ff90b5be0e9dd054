"""What the edge hands its requests on to."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.types import ASGIApp

from tidings.domain.context import UserContext
from tidings.domain.ports import Clock, IdSource
from tidings.events.feed import Feed
from tidings.events.positions import Positions
from tidings.gateway.presence import Presence
from tidings.health.metrics import Metrics
from tidings.health.probes import Readiness
from tidings.health.service import Health
from tidings.history.service import History
from tidings.identity.proxies import TrustedProxies
from tidings.identity.service import Identity
from tidings.notifications.service import Notifications
from tidings.reports.service import Document, Format
from tidings.router.accept import Router
from tidings.router.choices import Choices
from tidings.router.permissions import Permissions
from tidings.router.reads import Reads
from tidings.router.spending import Spending


class FileShelf(Protocol):
    """Keeps the files of users; every method raises NotFound for what is not the user's.

    What it returns encodes as JSON by msgspec.
    """

    async def add(self, context: UserContext, name: str, chunks: AsyncIterator[bytes]) -> Any:
        """Store and import a file as it arrives; on failure nothing of it is left."""
        ...

    async def list(self, context: UserContext) -> Any:
        """Return the user's files."""
        ...

    async def get(self, context: UserContext, file_id: str) -> Any:
        """Return one file and what its import found."""
        ...

    async def delete(self, context: UserContext, file_id: str) -> None:
        """Remove a file for good."""
        ...


class ReportShelf(Protocol):
    """Keeps finished reports."""

    async def document(
        self, context: UserContext, report_id: str, report_format: Format
    ) -> Document:
        """Return the report written in a format; NotFound if it is not the user's."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """The collaborators of the edge.

    `sockets` serves `/ws`; `upload_bytes_max` bounds one uploaded file; `metrics_token` opens
    `/metrics` and nothing else, empty it opens nothing; `proxies` are believed about who asks.
    """

    identity: Identity
    router: Router
    reads: Reads
    choices: Choices
    permissions: Permissions
    spending: Spending
    notifications: Notifications
    history: History
    files: FileShelf
    reports: ReportShelf
    readiness: Readiness
    health: Health
    sockets: ASGIApp
    presence: Presence
    feed: Feed
    positions: Positions
    metrics: Metrics
    clock: Clock
    ids: IdSource
    upload_bytes_max: int
    metrics_token: str
    proxies: TrustedProxies
