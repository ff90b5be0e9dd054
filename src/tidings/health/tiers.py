"""The tiers, looked at together: one that does not answer is down, and holds nobody up."""

import asyncio
from dataclasses import replace

from tidings.domain.tiers import Tier, TierHealth, TierState

TIER_SECONDS = 2.0


async def look_at(tiers: tuple[Tier, ...]) -> tuple[TierHealth, ...]:
    """Return the health of every tier, in order, within TIER_SECONDS."""
    async with asyncio.TaskGroup() as looks:
        tasks = [looks.create_task(_look(tier)) for tier in tiers]
    return tuple(task.result() for task in tasks)


async def _look(tier: Tier) -> TierHealth:
    try:
        async with asyncio.timeout(TIER_SECONDS):
            health = await tier.health()
    except TimeoutError:
        detail = f"no answer in {TIER_SECONDS} s"
        return TierHealth(tier.name, TierState.DOWN, detail, None, "Nothing is known of this tier.")
    # Faults are sentences; what is shown goes on behind them.
    return replace(health, detail=health.detail.removesuffix("."))
