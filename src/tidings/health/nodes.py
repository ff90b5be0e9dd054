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


@dataclass(frozen=True, slots=True)
class Heard:
    """What a node has told last, and when."""

    node: Node
    heard_at: float
    report: NodeReport


def standing(
    heard: Iterable[Heard], own_id: str, now: float, since: float
) -> tuple[NodeHealth, ...]:
    """Return the nodes that there are, and those that are missing, by role and name.

    Gone is who was not heard for GONE_SECONDS in which somebody listened: `since` is when that
    began. Who began after another of its role had gone stands in its place, and that one is
    missed no more.
    """
    found = [_health(one, own_id, now, since) for one in heard]
    replaced = _replaced(found)
    left = [node for node in found if node.node_id not in replaced]
    return tuple(sorted(left, key=lambda node: (node.role, node.name, node.started_at)))


def room(nodes: Iterable[NodeHealth]) -> int:
    """Return how many runs are worked on at once by all who do so now."""
    return sum(node.room for node in nodes if node.state == UP)


def _health(one: Heard, own_id: str, now: float, since: float) -> NodeHealth:
    node, report = one.node, one.report
    silent_seconds = now - max(one.heard_at, since)
    state = STOPPING if report.draining else UP
    return NodeHealth(
        node_id=node.node_id,
        name=node.name,
        role=node.role,
        version=node.version,
        state=GONE if silent_seconds > GONE_SECONDS else state,
        is_this=node.node_id == own_id,
        started_at=node.started_at,
        heard_at=one.heard_at,
        room=report.room,
        running=report.running,
        connections=report.connections,
        loop_lag_seconds=report.loop_lag_seconds,
        tiers=report.tiers,
        concerns=report.concerns,
    )


def _replaced(nodes: list[NodeHealth]) -> set[str]:
    """Return the ids of those that are gone, and in whose place another one is, or was."""
    missing = sorted((n for n in nodes if n.state == GONE), key=lambda node: node.heard_at)
    replaced: set[str] = set()
    for node in sorted(nodes, key=lambda node: node.started_at):
        for gone in missing:
            is_another = gone is not node and gone.role == node.role
            is_before = is_another and gone.heard_at < node.started_at
            if is_before and gone.node_id not in replaced:
                replaced.add(gone.node_id)
                break
    return replaced
