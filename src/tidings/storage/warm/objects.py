"""The one place that decides whether a user may touch an object."""

from enum import Enum

from tidings.domain.context import UserContext
from tidings.domain.errors import NotFound
from tidings.storage.warm.port import Row, Transaction


class Kind(Enum):
    """What can be owned: table, key."""

    THREAD = ("threads", "thread_id")
    RUN = ("runs", "run_id")
    FILE = ("files", "file_id")
    REPORT = ("reports", "report_id")
    STREAM = ("streams", "stream")
    INBOX_ITEM = ("inbox", "item_id")
    WEBHOOK = ("webhooks", "webhook_id")


async def fetch_owned(
    tx: Transaction, context: UserContext, kind: Kind, object_id: str, columns: str
) -> Row:
    """Return `columns` of the user's object.

    `columns` is written by the programmer, never taken from input.

    Raises:
        NotFound: no such object, or it belongs to someone else; the two are the same answer.
    """
    table, key = kind.value
    rows = await tx.execute(
        f"select {columns} from {table} where {key} = ? and user_id = ?",  # noqa: S608 - no input
        object_id,
        context.user_id,
    )
    if not rows:
        raise NotFound
    return rows[0]
