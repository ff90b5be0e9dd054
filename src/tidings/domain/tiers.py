"""How a tier is: said by its adapter, shown to the operator."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class TierState(StrEnum):
    """It does what it is for; it does so late or in part; it does not."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class TierHealth:
    """The health of one tier: `warm`, `hot`, `cold`, or the `scheduler` of runs.

    `detail` is for the operator (an engine, a version, a fault; never a password or an address with
    one). `meaning` is one plain sentence on what it means for users; empty when all is well.
    `latency_seconds` is what a round trip took, `lag_seconds` how far the tier is behind the truth;
    None where there is no such thing.
    """

    name: str
    state: TierState
    detail: str
    latency_seconds: float | None
    meaning: str
    lag_seconds: float | None = None


class Tier(Protocol):
    """An adapter that can say how it is."""

    @property
    def name(self) -> str:
        """Which tier it is."""
        ...

    async def health(self) -> TierHealth:
        """Look, within a second or so; a tier that is away is a state, not an exception."""
        ...
