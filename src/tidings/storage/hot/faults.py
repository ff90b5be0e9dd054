"""What goes wrong with the server of the hot tier, as a sentence for the operator."""

import ssl

from redis.exceptions import (
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import TimeoutError as ClientTimeoutError

FAULTS = (RedisError, OSError, TimeoutError)
"""What a server that is away, slow, or not what it should be, is met by."""
READ_ONLY = "-READONLY"
"""In what Redis before 7 says of a script that may not write; later ones answer as to a command."""

_SAID: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    (
        (AuthenticationError, AuthenticationWrongNumberOfArgsError),
        "it refuses the user or the password of TIDINGS_HOT_URL",
    ),
    ((ReadOnlyError,), "it is a replica, which takes no writes: name the primary"),
    ((OutOfMemoryError,), "its memory is full: raise maxmemory, or let it evict"),
    ((BusyLoadingError,), "it reads its data from disk, and answers when it has"),
    ((TimeoutError, ClientTimeoutError), "no answer in time"),
)
_UNTRUSTED = "its certificate is not trusted here, or is another address's"
_UNENCRYPTED = "no encrypted connection could be made: TLS on one end alone, or no common version"
_UNREACHED = "it cannot be reached"
_CROWDED = "max number of clients reached"


def said(fault: BaseException) -> str:
    """Return what is wrong; never an address or a password.

    What the server itself says of a command is passed on: it names the command that is refused.
    """
    if isinstance(fault, NoPermissionError):
        return f"the user's rights are not enough: {fault}"
    for kinds, sentence in _SAID:
        if isinstance(fault, kinds):
            return sentence
    if isinstance(fault, ResponseError) or str(fault) == _CROWDED:
        return str(fault)
    return _of_connecting(fault)


def _of_connecting(fault: BaseException) -> str:
    """Look for what the client met when it connected, below what it makes of that."""
    seen: BaseException | None = fault
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return _UNTRUSTED
        if isinstance(seen, ssl.SSLError):
            return _UNENCRYPTED
        seen = seen.__cause__ or seen.__context__
    return _UNREACHED
