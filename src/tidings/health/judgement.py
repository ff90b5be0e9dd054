"""What the sections come to: which concerns there are, and what they mean for users. Pure."""

from collections.abc import Iterator
from dataclasses import replace

from tidings.domain.tiers import TierHealth, TierState
from tidings.health.fleet import of_fleet
from tidings.health.nodes import NodeReport
from tidings.health.overview import Concern, Sections
from tidings.health.parts import SHAKEN_SECONDS
from tidings.resilience.breaker import BreakerState

SLOW_LOOP_SECONDS = 0.25
LATE_OUTBOX_SECONDS = 30.0
CLOCK_DIFFERS_SECONDS = 2.0

USERS_OF_TIERS = {
    "hot": "What is new may appear up to a second late.",
    "cold": "Older history and figures of past use may be missing.",
}
"""What users notice of a tier; of the truth, its own word."""

ALIKE_EVERYWHERE = frozenset({"agents_resting", "overloaded"})
"""What every process finds in the same store: none has to tell the others."""
CONCERNS_TOLD_MAX = 10
DETAIL_CHARACTERS_MAX = 200

WELL = "All is well."
_DEGRADED = "Tidings works; some things are not as usual."
_DOWN = "Tidings cannot take new work now."
_UNATTENDED = "Tidings takes what is asked, and nobody works on it now."


def judge(sections: Sections, now: float) -> tuple[TierState, str, tuple[Concern, ...]]:
    """Return the state of the whole, what it means in a sentence, and the concerns, worst first.

    Only the truth can take a server down, the store and the disk under it; and a fleet in which
    nobody works. What else fails makes it do with less. `now` is in seconds since 1970 UTC.
    """
    here = list(_concerns(sections))
    elsewhere = of_fleet(sections.nodes, frozenset(concern.code for concern in here), now)
    found = sorted([*here, *elsewhere], key=lambda concern: concern.state is not TierState.DOWN)
    if not found:
        return TierState.OK, WELL, ()
    if found[0].state is TierState.DOWN:
        meaning = _UNATTENDED if found[0].code == "no_worker" else _DOWN
        return TierState.DOWN, meaning, tuple(found)
    return TierState.DEGRADED, _DEGRADED, tuple(found)


def report_of(here: Sections, room: int, running: int, alike: dict[str, str]) -> NodeReport:
    """Return what a process tells the others of itself: bounded, and what they cannot know."""
    told = [
        replace(concern, detail=_text(concern.detail[:DETAIL_CHARACTERS_MAX]))
        for concern in _concerns(replace(here, draining=False))
        if concern.code not in ALIKE_EVERYWHERE
    ]
    return NodeReport(
        draining=here.draining,
        room=room,
        running=running,
        connections=here.connections,
        loop_lag_seconds=here.loop.lag_seconds,
        tiers={tier.name: tier.state for tier in here.tiers},
        concerns=tuple(told[:CONCERNS_TOLD_MAX]),
        alike=alike,
    )


def _text(detail: str) -> str:
    """Return what can be written down; names of files may hold bytes that are no text."""
    return detail.encode("utf-8", "replace").decode()


def _concerns(sections: Sections) -> Iterator[Concern]:
    for tier in sections.tiers:
        if tier.state is not TierState.OK:
            yield _of_tier(tier)
    if any(check.name == "disk" and not check.ok for check in sections.checks):
        detail = next(check.detail for check in sections.checks if check.name == "disk")
        users = "The server has no room left: new files and messages may be refused."
        yield Concern("disk_full", TierState.DOWN, detail, users)
    if sections.draining:
        yield _degraded("draining", "it was told to stop", "The server restarts in a moment.")
    yield from _of_work(sections)
    yield from _of_models(sections)
    yield from _of_agents(sections)
    yield from _of_tools(sections)
    yield from _of_process(sections)


def _of_tier(tier: TierHealth) -> Concern:
    """A tier that holds hints or history is no reason to take no work."""
    if tier.name == "warm":
        return Concern("tier_warm", tier.state, tier.detail, tier.meaning)
    detail = f"{tier.state}: {tier.detail}. {tier.meaning}"
    return _degraded(f"tier_{tier.name}", detail, USERS_OF_TIERS.get(tier.name, ""))


def _of_work(sections: Sections) -> Iterator[Concern]:
    queue = sections.queue
    if queue.overload:
        detail = f"{queue.overload}: {queue.ready} ready, {queue.wait_seconds:.0f} s to wait"
        users = "Much is asked at once: new questions may be refused for a moment."
        yield _degraded("overloaded", detail, users)


def _of_models(sections: Sections) -> Iterator[Concern]:
    resting = [m for m in sections.models if m.breaker == BreakerState.OPEN]
    if not resting:
        return
    told = ", ".join(f"{model.name} ({model.fault})" for model in resting)
    users = "Answers come from another model than usual, or are written by simple rules."
    yield _degraded("models_resting", told, users)


def _of_agents(sections: Sections) -> Iterator[Concern]:
    resting = [agent for agent in sections.agents if not agent.well]
    if not resting:
        return
    told = ", ".join(f"{a.name} ({a.failed} of {a.ended} failed)" for a in resting)
    users = "Some answers come from a stand-in, or fail."
    yield _degraded("agents_resting", told, users)


def _of_tools(sections: Sections) -> Iterator[Concern]:
    down = [server for server in sections.tool_servers if server.state == "down"]
    if down:
        told = ", ".join(f"{server.name}: {server.fault}" for server in down)
        yield _degraded("tool_servers_down", told, "Some tools are not there for the moment.")
    held = [f"{server.name}.{tool}" for server in sections.tool_servers for tool in server.changed]
    if held:
        yield _degraded("tools_held", f"changed, not accepted: {', '.join(held)}", "")


def _of_process(sections: Sections) -> Iterator[Concern]:
    shaken = [
        part.name
        for part in sections.parts
        if part.crashed_seconds is not None and part.crashed_seconds < SHAKEN_SECONDS
    ]
    if shaken:
        yield _degraded("parts_crashed", f"begun again: {', '.join(shaken)}", "")
    if sections.loop.lag_seconds >= SLOW_LOOP_SECONDS:
        detail = f"the event loop is {sections.loop.lag_seconds:.2f} s late"
        yield _degraded("loop_late", detail, "Everything takes longer than usual.")
    if sections.outbox_lag_seconds >= LATE_OUTBOX_SECONDS:
        detail = f"the outbox is {sections.outbox_lag_seconds:.0f} s late"
        yield _degraded("outbox_late", detail, "News of what ended while you were away comes late.")
    if abs(ahead := sections.clock_ahead_seconds) >= CLOCK_DIFFERS_SECONDS:
        where = "ahead of" if ahead > 0 else "behind"
        detail = (
            f"this machine's clock is {abs(ahead):.0f} s {where} the database server's,"
            " which counts: set both by NTP"
        )
        yield _degraded("clock_differs", detail, "")


def _degraded(code: str, detail: str, users: str) -> Concern:
    return Concern(code, TierState.DEGRADED, detail, users)
