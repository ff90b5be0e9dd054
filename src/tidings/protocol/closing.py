"""The close codes: their range says what a client does next."""

from enum import IntEnum


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
    TOKEN_EXPIRED = 4201
    BAD_FRAME = 4400
    AUTH_FAILED = 4401
    FORBIDDEN = 4403
    HELLO_TIMEOUT = 4408
    NO_COMMON_VERSION = 4418
    PROTOCOL_VIOLATION = 4422
    ABUSE = 4429

    @property
    def may_resume(self) -> bool:
        """Whether a client comes back by itself."""
        return self < Close.BAD_FRAME and self != Close.NORMAL
