"""Who else is connected to a database."""

from tidings.domain.errors import Conflict
from tidings.storage.warm.postgres.connections import APPLICATION, close, connect
from tidings.storage.warm.postgres.faults import as_unavailable

_SERVERS = (
    "select count(*) from pg_stat_activity"
    " where datname = current_database() and application_name = $1 and pid <> pg_backend_pid()"
)


async def refuse_while_served(url: str) -> None:
    """See that no server works on a database: each keeps a connection, and looks every second.

    Raises:
        Conflict: `store_in_use`.
        Unavailable: `storage_unavailable`, `storage_busy`.
    """
    connection = await connect(url)
    try:
        with as_unavailable():
            count = await connection.fetchval(_SERVERS, APPLICATION)
    finally:
        await close(connection)
    if count:
        raise Conflict(
            "store_in_use", f"{count} connections of servers work on the database; stop them first."
        )
