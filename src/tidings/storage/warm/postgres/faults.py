"""What the engine reports, told apart by what the caller can do; a defect stays what it is."""

import ssl
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
    asyncpg.IdleSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
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

_BUSY = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.InsufficientResourcesError,
)
_POOLED = (
    asyncpg.ProtocolViolationError,
    asyncpg.InvalidSQLStatementNameError,
    asyncpg.DuplicatePreparedStatementError,
)
"""What a pooler does that gives each transaction another session: it refuses what sessions begin
with, and what was prepared in one is looked for in another."""

_BUSY_CODE, _UNAVAILABLE_CODE = "storage_busy", "storage_unavailable"
_SAID: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str, str], ...] = (
    (asyncpg.TooManyConnectionsError, _BUSY_CODE, "The database takes no more connections now."),
    (_BUSY, _BUSY_CODE, "The store is busy; try again."),
    (
        ssl.SSLCertVerificationError,
        _UNAVAILABLE_CODE,
        "The database's certificate is not trusted here, or is another address's.",
    ),
    (ssl.SSLError, _UNAVAILABLE_CODE, "No encrypted connection to the database could be made."),
    (
        (asyncpg.ReadOnlySQLTransactionError, asyncpg.TargetServerAttributeNotMatched),
        _UNAVAILABLE_CODE,
        "The database only takes reads now.",
    ),
    (
        asyncpg.InvalidAuthorizationSpecificationError,
        _UNAVAILABLE_CODE,
        "The database refuses the server's login or its password.",
    ),
    (
        asyncpg.InvalidCatalogNameError,
        _UNAVAILABLE_CODE,
        "There is no such database where the server looks for it.",
    ),
    (
        _POOLED,
        _UNAVAILABLE_CODE,
        "A pooler before the database keeps no sessions; let the server connect without it.",
    ),
    (
        (FileNotFoundError, PermissionError),
        _UNAVAILABLE_CODE,
        "A socket or a certificate that the database's address names is not there.",
    ),
    (OSError, _UNAVAILABLE_CODE, "The database cannot be reached."),
    (
        (*_GONE, asyncpg.CannotConnectNowError, asyncpg.ObjectNotInPrerequisiteStateError),
        _UNAVAILABLE_CODE,
        "The store cannot be used now.",
    ),
)
"""What may pass, or be mended, and what is said of it until then."""


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
    if isinstance(error, asyncpg.DataCorruptedError | asyncpg.IndexCorruptedError):
        return Unusable("store_damaged", "The database is damaged; put back a backup of it.")
    for kinds, code, sentence in _SAID:
        if isinstance(error, kinds):
            return Unavailable(code, sentence)
    return None
