"""What the rules of a connection want done; the gateway carries it out, in order."""

from dataclasses import dataclass

from tidings.domain.commands import Command
from tidings.protocol.closing import Close
from tidings.protocol.frames import Mismatch, Subscription


@dataclass(frozen=True, slots=True)
class Send:
    """Write this message to the socket."""

    message: bytes


@dataclass(frozen=True, slots=True)
class CloseWith:
    """Close the socket; nothing follows."""

    code: Close
    reason: str


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Find out who this is; report by `authenticated` or `refused`."""

    ticket: str | None
    token: str | None


@dataclass(frozen=True, slots=True)
class Carry:
    """Have this command accepted; report by `accepted` or `failed`."""

    command: Command


@dataclass(frozen=True, slots=True)
class Follow:
    """Follow these streams; report by `greeted` when it greets, by `followed` when it was asked."""

    subscriptions: tuple[Subscription, ...]
    greeting: bool = False
    asked: bool = True


@dataclass(frozen=True, slots=True)
class Leave:
    """Stop following this stream."""

    stream: str


@dataclass(frozen=True, slots=True)
class Remember:
    """Store how far this device has applied the streams."""

    device: str
    positions: dict[str, int]


@dataclass(frozen=True, slots=True)
class Miscounted:
    """Count and log that a run did not reach this client whole."""

    mismatch: Mismatch


Effect = Send | CloseWith | Authenticate | Carry | Follow | Leave | Remember | Miscounted
