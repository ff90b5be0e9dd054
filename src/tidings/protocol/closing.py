"""The close codes: their range says what a client does next."""

from enum import IntEnum, StrEnum


class Close(IntEnum):
    """41xx resume; 42xx resume after an action; 44xx do not come back like this."""

    NORMAL = 1000
    BINARY = 1003
    DRAIN = 4100
    HEARTBEAT = 4102
    SLOW = 4103
    ACKS_STALLED = 4105
    INTERNAL = 4106
    OVERLOADED = 4107
    STORE_UNAVAILABLE = 4108
    GAP = 4109
    TOKEN_EXPIRED = 4201
    BAD_FRAME = 4400
    AUTH_FAILED = 4401
    FORBIDDEN = 4403
    HELLO_TIMEOUT = 4408
    REPLACED = 4409
    NO_COMMON_VERSION = 4418
    PROTOCOL_VIOLATION = 4422
    ABUSE = 4429


class Next(StrEnum):
    """What a client does after a close: come back, perhaps with something else first, or not."""

    RESUME = "resume"
    TOKEN = "token"  # noqa: S105 - a word: with fresh credentials
    SNAPSHOT = "snapshot"
    UPGRADE = "upgrade"
    STOP = "stop"


_NEXT = {
    1000: Next.STOP,
    1003: Next.STOP,
    1007: Next.STOP,
    1009: Next.STOP,
    4202: Next.SNAPSHOT,
    4203: Next.UPGRADE,
}


def after_close(code: int) -> Next:
    """Return what a close code asks for; one that is not known by the range it is in."""
    if code in _NEXT:
        return _NEXT[code]
    if 4400 <= code < 4500:  # noqa: PLR2004 - the range
        return Next.STOP
    return Next.TOKEN if 4200 <= code < 4300 else Next.RESUME  # noqa: PLR2004
