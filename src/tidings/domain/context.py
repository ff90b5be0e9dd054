"""Who is acting: the first argument of every operation; and whose rows a unit of work may see."""

import re
from dataclasses import dataclass

_IDENTIFIER = re.compile(r"[A-Za-z0-9_\-]{1,64}")


@dataclass(frozen=True, slots=True)
class UserContext:
    """The authenticated user behind a request, a run or a subscription.

    Raises:
        ValueError: a field is empty, too long, or holds anything but letters, digits, `_` and `-`.
    """

    tenant_id: str
    user_id: str
    session_id: str

    def __post_init__(self) -> None:
        for name in ("tenant_id", "user_id", "session_id"):
            if not _IDENTIFIER.fullmatch(getattr(self, name)):
                raise ValueError(f"{name} is not an identifier")


@dataclass(frozen=True, slots=True)
class ServerScope:
    """The server itself, at its duties for all users: claims, upkeep, outbox, polls, probes."""


SERVER = ServerScope()

Scope = UserContext | ServerScope
"""For whom a unit of work is done. A user's sees and changes that user's rows alone."""
