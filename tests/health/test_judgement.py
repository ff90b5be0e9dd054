"""What the sections come to: the truth alone takes a server down, users hear what they notice."""

import pytest

from tests.fakes.sections import WELL, with_
from tidings.domain.tiers import TierHealth, TierState
from tidings.health.judgement import (
    CLOCK_DIFFERS_SECONDS,
    LATE_OUTBOX_SECONDS,
    SLOW_LOOP_SECONDS,
    judge,
)
from tidings.health.overview import (
    AgentHealth,
    LoopHealth,
    ModelHealth,
    PartHealth,
    QueueHealth,
    Sections,
    ToolHealth,
    ToolServerHealth,
)
from tidings.health.parts import SHAKEN_SECONDS
from tidings.health.probes import ProbeResult

OK, DEGRADED, DOWN = TierState.OK, TierState.DEGRADED, TierState.DOWN
NOW = 1_000_000.0
ADDRESS = "10.1.2.3:6379 refused"


def tier(name: str, state: TierState) -> TierHealth:
    return TierHealth(name, state, ADDRESS, None, "What it means.")


@pytest.mark.parametrize(
    ("sections", "state", "codes"),
    [
        (WELL, OK, []),
        (with_(tiers=(tier("warm", DOWN),)), DOWN, ["tier_warm"]),
        (with_(tiers=(tier("warm", DEGRADED),)), DEGRADED, ["tier_warm"]),
        (with_(tiers=(tier("hot", DOWN), tier("cold", DOWN))), DEGRADED, ["tier_hot", "tier_cold"]),
        (with_(tiers=(tier("hot", DOWN), tier("warm", DOWN))), DOWN, ["tier_warm", "tier_hot"]),
        (with_(checks=(ProbeResult("disk", ok=False, detail="1 byte"),)), DOWN, ["disk_full"]),
        (with_(checks=(ProbeResult("disk", ok=True, detail="much"),)), OK, []),
        (with_(draining=True), DEGRADED, ["draining"]),
        (
            with_(queue=QueueHealth(90, 80, 16, 0, 40.0, 7, "queue_wait")),
            DEGRADED,
            ["overloaded"],
        ),
        (
            with_(models=(ModelHealth("openai:m", "open", 0, "model_overloaded"),)),
            DEGRADED,
            ["models_resting"],
        ),
        (with_(models=(ModelHealth("openai:m", "half_open", 0, "model_timeout"),)), OK, []),
        (with_(agents=(AgentHealth("a", False, 9, 9, 3, ()),)), DEGRADED, ["agents_resting"]),
        (with_(agents=(AgentHealth("a", True, 9, 9, 1, ()),)), OK, []),
        (with_(tools=(ToolHealth("describe_data", 3, 1),)), OK, []),
        (
            with_(tool_servers=(ToolServerHealth("crm", "down", ADDRESS),)),
            DEGRADED,
            ["tool_servers_down"],
        ),
        (
            with_(tool_servers=(ToolServerHealth("crm", "up", changed=("find",)),)),
            DEGRADED,
            ["tools_held"],
        ),
        (with_(parts=(PartHealth("feed", 1, SHAKEN_SECONDS - 1),)), DEGRADED, ["parts_crashed"]),
        (with_(parts=(PartHealth("feed", 1, SHAKEN_SECONDS),)), OK, []),
        (with_(loop=LoopHealth(SLOW_LOOP_SECONDS, 1.0, 0, "")), DEGRADED, ["loop_late"]),
        (with_(loop=LoopHealth(0.0, 9.0, 4, "a.py:1 f")), OK, []),
        (with_(outbox_lag_seconds=LATE_OUTBOX_SECONDS), DEGRADED, ["outbox_late"]),
        (with_(clock_ahead_seconds=CLOCK_DIFFERS_SECONDS), DEGRADED, ["clock_differs"]),
        (with_(clock_ahead_seconds=-CLOCK_DIFFERS_SECONDS), DEGRADED, ["clock_differs"]),
        (with_(clock_ahead_seconds=CLOCK_DIFFERS_SECONDS - 0.1), OK, []),
    ],
)
def test_each_section_raises_its_concern(
    sections: Sections, state: TierState, codes: list[str]
) -> None:
    found, meaning, concerns = judge(sections, NOW)
    assert found is state
    assert [concern.code for concern in concerns] == codes
    assert meaning.endswith(".")
    for concern in concerns:
        assert concern.detail or concern.users
        assert ADDRESS not in concern.users
        assert not concern.users or concern.users.endswith((".", "!"))
