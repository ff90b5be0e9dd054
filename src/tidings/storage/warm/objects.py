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
    return _only(await tx.execute(_owned(kind, columns), possible_id(object_id), context.user_id))


async def lock_owned(
    tx: Transaction, context: UserContext, kind: Kind, object_id: str, columns: str
) -> Row:
    """Return `columns` of the user's object, which no other unit changes until this one ends.

    Raises:
        NotFound: as above.
    """
    return _only(await tx.lock(_owned(kind, columns), possible_id(object_id), context.user_id))


async def take_turn(tx: Transaction, context: UserContext) -> None:
    """Go on when no other unit of the user's that took its turn is under way.

    What is counted or looked for before it is added is then still so when it is. It comes first in
    a unit: see the order of locks in docs/decisions/0051.
    """
    await tx.turn(f"user {context.user_id}")


def _owned(kind: Kind, columns: str) -> str:
    table, key = kind.value
    return f"select {columns} from {table} where {key} = ? and user_id = ?"  # noqa: S608 - no input


def possible_id(object_id: str) -> str:
    """Return an id that there may be: none holds a NUL, which not every engine takes as a value.

    Raises:
        NotFound: there cannot be such an object.
    """
    if "\0" in object_id:
        raise NotFound
    return object_id


def _only(rows: list[Row]) -> Row:
    if not rows:
        raise NotFound
    return rows[0]
