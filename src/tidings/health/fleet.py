"""What is not well with the nodes of a fleet, as the process that is asked sees it. Pure."""

from collections import defaultdict
from collections.abc import Iterator

from tidings.domain.tiers import TierState
from tidings.health.nodes import GONE, UP, room
from tidings.health.overview import Concern, NodeHealth

NAMED_MAX = 3
_GO_ON = {"gateway": "clients go on at", "worker": "runs go on at"}
_BOTH_GO_ON = "clients and runs go on at"


def of_fleet(nodes: tuple[NodeHealth, ...], own: frozenset[str], now: float) -> Iterator[Concern]:
    """Yield what is not well beyond this process, whose own concerns have the codes in `own`."""
    if not nodes:
        return
    if not room(nodes):
        detail = f"{_missing(nodes, now)}nothing is worked on until a worker begins"
        users = "Nobody is there to work on questions now: what you ask waits until somebody is."
        yield Concern("no_worker", TierState.DOWN, detail, users)
    elif any(node.state == GONE for node in nodes):
        users = "Answers may take longer than usual." if _is_worker_gone(nodes) else ""
        detail = "; ".join(_losses(nodes, now))
        yield Concern("nodes_gone", TierState.DEGRADED, detail, users)
    if different := list(_different(nodes)):
        detail = "; ".join(different[:NAMED_MAX]) + _more(len(different))
        yield Concern("nodes_differ", TierState.DEGRADED, detail, "")
    yield from _told_elsewhere(nodes, own)


def _different(nodes: tuple[NodeHealth, ...]) -> Iterator[str]:
    """Yield which nodes have something else than this one, that should be the same.

    Those of another version may well: they are being replaced.
    """
    for this in (node for node in nodes if node.is_this):
        for node in nodes:
            if node.state == UP and node.version == this.version:
                both = sorted(this.alike.keys() & node.alike.keys())
                if others := [name for name in both if this.alike[name] != node.alike[name]]:
                    yield f"{node.name} has other {', '.join(others)} than {this.name}"


def _losses(nodes: tuple[NodeHealth, ...], now: float) -> Iterator[str]:
    """Yield for each role of which one is gone how many are left to do its work."""
    for role in sorted({node.role for node in nodes if node.state == GONE}):
        of_role = [node for node in nodes if node.role == role]
        gone = [node for node in of_role if node.state == GONE]
        left = len(of_role) - len(gone)
        word = "is" if len(gone) == 1 else "are"
        told = f"{len(gone)} of {len(of_role)} {_plural(role)} {word} gone ({_named(gone, now)})"
        others = "the other" if left == 1 else "the others"
        yield f"{told}: {_GO_ON.get(role, _BOTH_GO_ON)} {others}" if left else told


def _missing(nodes: tuple[NodeHealth, ...], now: float) -> str:
    """Return the workers that there were, where it is known."""
    gone = [node for node in nodes if node.state == GONE and node.room]
    return f"gone: {_named(gone, now)}; " if gone else ""


def _is_worker_gone(nodes: tuple[NodeHealth, ...]) -> bool:
    return any(node.state == GONE and node.room for node in nodes)


def _told_elsewhere(nodes: tuple[NodeHealth, ...], own: frozenset[str]) -> Iterator[Concern]:
    """Yield what other nodes have told, and this one does not know by itself.

    What takes one node down is no more than a concern to all of them.
    """
    told: defaultdict[str, list[tuple[str, Concern]]] = defaultdict(list)
    for node in nodes:
        for concern in node.concerns if node.state == UP and not node.is_this else ():
            if concern.code not in own:
                told[concern.code].append((node.name, concern))
    for code, those in told.items():
        said = [f"{name}: {concern.detail or code}" for name, concern in those[:NAMED_MAX]]
        detail = "; ".join(said) + _more(len(those))
        yield Concern(code, TierState.DEGRADED, detail, those[0][1].users)


def _named(nodes: list[NodeHealth], now: float) -> str:
    named = [f"{n.name}, silent for {_duration(now - n.heard_at)}" for n in nodes[:NAMED_MAX]]
    return "; ".join(named) + _more(len(nodes))


def _more(count: int) -> str:
    return f"; and {count - NAMED_MAX} more" if count > NAMED_MAX else ""


def _plural(role: str) -> str:
    return "servers" if role == "all" else f"{role}s"


def _duration(seconds: float) -> str:
    if seconds < 120:  # noqa: PLR2004 - two minutes
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"  # noqa: PLR2004
