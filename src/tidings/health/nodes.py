"""The nodes of a fleet: what each tells of itself, and who counts as gone. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tidings.health.overview import Concern, NodeHealth

GONE_SECONDS = 20.0
UP, STOPPING, GONE = "up", "stopping", "gone"


@dataclass(frozen=True, slots=True)
class Node:
    """Which process it is, for as long as it lives; `started_at` in seconds since 1970 UTC."""

    node_id: str
    name: str
    role: str
    version: str
    started_at: float


@dataclass(frozen=True, slots=True)
class NodeReport:
    """How a process is, in its own words; the fields are those of `NodeHealth`.

    Another version may leave some out.
    """

    draining: bool = False
    room: int = 0
    running: int = 0
    connections: int = 0
    loop_lag_seconds: float = 0.0
    tiers: dict[str, str] = field(default_factory=dict)
    concerns: tuple[Concern, ...] = ()
    alike: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Heard:
    """What a node has told last, and when."""

    node: Node
    heard_at: float
    report: NodeReport


def standing(
    heard: Iterable[Heard], own_id: str, now: float, since: float
) -> tuple[NodeHealth, ...]:
    """Return how the nodes are, by role and name.

    Gone is who was not heard for GONE_SECONDS in which somebody listened: `since` is when that
    began.
    """
    found = [_health(one, own_id, now, since) for one in heard]
    return tuple(sorted(found, key=lambda node: (node.role, node.name, node.started_at)))


def replaced(heard: Iterable[Heard], now: float, since: float) -> set[str]:
    """Return the ids of those that are gone, and that nobody has to miss.

    Who began after another of its role had gone stands in its place.
    """
    everybody = sorted(heard, key=lambda one: one.node.started_at)
    missing = sorted(
        (one for one in everybody if _is_gone(one, now, since)), key=lambda one: one.heard_at
    )
    found: set[str] = set()
    for one in everybody:
        for gone in missing:
            is_another = gone is not one and gone.node.role == one.node.role
            is_before = is_another and gone.heard_at < one.node.started_at
            if is_before and gone.node.node_id not in found:
                found.add(gone.node.node_id)
                break
    return found


def room(nodes: Iterable[NodeHealth]) -> int:
    """Return how many runs are worked on at once by all who do so now."""
    return sum(node.room for node in nodes if node.state == UP)


def _is_gone(one: Heard, now: float, since: float) -> bool:
    return now - max(one.heard_at, since) > GONE_SECONDS


def _health(one: Heard, own_id: str, now: float, since: float) -> NodeHealth:
    node, report = one.node, one.report
    state = STOPPING if report.draining else UP
    return NodeHealth(
        node_id=node.node_id,
        name=node.name,
        role=node.role,
        version=node.version,
        state=GONE if _is_gone(one, now, since) else state,
        is_this=node.node_id == own_id,
        started_at=node.started_at,
        heard_at=one.heard_at,
        room=report.room,
        running=report.running,
        connections=report.connections,
        loop_lag_seconds=report.loop_lag_seconds,
        tiers=report.tiers,
        concerns=report.concerns,
        alike=report.alike,
    )
