"""Sections of a server that is well; a test says what is not."""

from dataclasses import replace
from typing import Any

from tidings.domain.tiers import TierHealth, TierState
from tidings.health.overview import LoopHealth, QueueHealth, Sections

WELL = Sections(
    draining=False,
    checks=(),
    parts=(),
    tiers=(TierHealth("warm", TierState.OK, "a fake", 0.001, ""),),
    models=(),
    tools=(),
    tool_servers=(),
    agents=(),
    queue=QueueHealth(0, 0, 0, 0, 0.0, 0, ""),
    loop=LoopHealth(0.0, 0.0, 0, ""),
    connections=0,
    outbox_lag_seconds=0.0,
    clock_ahead_seconds=0.0,
    spending=None,
    nodes=(),
)


async def well() -> Sections:
    """Look at a server that is well."""
    return WELL


def with_(**sections: Any) -> Sections:
    """Return the sections of a server that is well but for these."""
    return replace(WELL, **sections)
