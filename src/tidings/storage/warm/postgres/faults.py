"""What the engine reports, told apart by what the caller can do; a defect stays what it is."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from tidings.domain.errors import InvalidInput, TidingsError, Unavailable, Undecided, Unusable

_GONE = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)
AGAIN = (
    *_GONE,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.UniqueViolationError,
    asyncpg.ForeignKeyViolationError,
)
"""Nothing was committed, and another attempt may fare better: the connection was lost, or another
unit was faster, and what it has done is now there to be seen. A key that is violated each time is
wrong data."""

_NOT_NOW = (
    *_GONE,
    asyncpg.CannotConnectNowError,
    asyncpg.TargetServerAttributeNotMatched,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)
_BUSY = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.InsufficientResourcesError,
)


@contextmanager
def as_unavailable() -> Iterator[None]:
    """Raise what the caller is to see."""
    try:
        yield
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        told = _told(error)
        if told is None:  # wrong data or wrong SQL
            raise
        raise told from error


@contextmanager
def committing() -> Iterator[None]:
    """Say of a commit whose reply is lost that nobody knows."""
    try:
        yield
    except _GONE as error:
        raise Undecided(
            "storage_unavailable",
            "The store did not say whether it has done this; send it again under the same id.",
        ) from error


def unanswered() -> Unavailable:
    """Return what is said when time is up; a commit that was under way may be done."""
    return Unavailable(
        "storage_unavailable",
        "The store did not answer in time; send it again under the same id.",
    )


def _told(error: Exception) -> TidingsError | None:
    if isinstance(error, asyncpg.CharacterNotInRepertoireError):
        return InvalidInput("invalid_text", "A text holds a NUL, which cannot be kept.")
    if isinstance(error, asyncpg.DiskFullError):
        return Unavailable("storage_full", "The database's disk is full.", status=507)
    if isinstance(error, _BUSY):
        return Unavailable("storage_busy", "The store is busy; try again.")
    if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
        return Unavailable("storage_unavailable", "The database only takes reads now.")
    if isinstance(error, asyncpg.DataCorruptedError | asyncpg.IndexCorruptedError):
        return Unusable("store_damaged", "The database is damaged; put back a backup of it.")
    if isinstance(error, _NOT_NOW):
        return Unavailable("storage_unavailable", "The store cannot be used now.")
    return None
