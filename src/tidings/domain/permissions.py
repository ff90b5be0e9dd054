"""What a tool may do for a user: decided here, whatever the model says."""

import hashlib
from enum import StrEnum
from typing import Any

import msgspec


class Effect(StrEnum):
    """What a call does to the world outside the run."""

    NONE = "none"
    """Nothing: it computes."""
    READ = "read"
    """It looks. Calling twice does no harm."""
    KEYED = "keyed"
    """It changes something, once for each idempotency key. Calling twice does no harm."""
    WRITE = "write"
    """It changes something with every call."""

    @property
    def repeatable(self) -> bool:
        """Whether a call whose end is not known may be made again."""
        return self is not Effect.WRITE

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return self in {Effect.KEYED, Effect.WRITE}


class Permission(StrEnum):
    """What a user has said about a tool, and what follows from it for a call."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


def decide(effect: Effect, told: Permission | None, *, tainted: bool) -> Permission:
    """Return what becomes of a call.

    `told` is what the user has said about the tool. `tainted`: the run has seen content that
    somebody else may have written; a tool that changes something then asks, even if it is allowed.
    """
    if told is Permission.DENY:
        return Permission.DENY
    if told is Permission.ASK or (tainted and effect.writes):
        return Permission.ASK
    return Permission.ALLOW


def reason_to_ask(told: Permission | None) -> str:
    """Return why a call needs leave, as the user is told it."""
    if told is Permission.ASK:
        return "You asked to be asked before this tool is used."
    return "The run has read content from outside, and this tool changes something."


def call_hash(tool: str, arguments: dict[str, Any]) -> str:
    """Return what leave for a call is bound to: its tool and its arguments, to the letter."""
    return hashlib.sha256(msgspec.json.encode([tool, arguments], order="sorted")).hexdigest()
