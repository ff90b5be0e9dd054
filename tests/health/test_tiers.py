"""Tiers are looked at together, and one that hangs is down and holds nobody up."""

import asyncio
from dataclasses import dataclass

import pytest

from tidings.domain.tiers import TierHealth, TierState
from tidings.health import tiers


@dataclass(frozen=True)
class SteadyTier:
    """A fake tier that is well."""

    name: str

    async def health(self) -> TierHealth:
        return TierHealth(self.name, TierState.OK, "a fake, whose detail is a sentence.", 0.001, "")


@dataclass(frozen=True)
class HangingTier:
    """A fake tier that never answers."""

    name: str

    async def health(self) -> TierHealth:
        await asyncio.Event().wait()
        raise AssertionError


def test_a_tier_that_hangs_is_down_and_the_others_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "TIER_SECONDS", 0.01)
    found = asyncio.run(tiers.look_at((SteadyTier("warm"), HangingTier("hot"))))
    assert [(tier.name, tier.state) for tier in found] == [
        ("warm", TierState.OK),
        ("hot", TierState.DOWN),
    ]
    assert found[0].detail == "a fake, whose detail is a sentence"  # more is said behind it
    assert found[1].detail == "no answer in 0.01 s"
