"""`tidings health`: how the running server is, as administrators see it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tidings.cli.ask import Server
from tidings.client.http import Api

EXITS = {"ok": 0, "degraded": 3, "down": 1}
MARKS = {"ok": ("✔", "green"), "degraded": ("▲", "yellow"), "down": ("✘", "red")}
BREAKERS = {"closed": "ok", "half_open": "degraded", "open": "down"}
NODES = {"up": "ok", "stopping": "degraded", "gone": "down"}
SERVERS = {"up": "ok", "starting": "degraded", "down": "down"}

Line = tuple[str, str, str]
"""A state or nothing, a name, and what is known."""


async def show_health(server: Server, console: Console) -> int:
    """Print how a server is, the whole first; return 0 when it is well, 3 degraded, 1 down.

    Raises:
        TidingsError: `admin_only`, or another refusal of the server's.
        Unavailable: `server_unreachable`.
    """
    health = await Api(server.url, server.token).health()
    when = datetime.fromtimestamp(health["looked_at"], UTC)
    told = f"{health['meaning']}  ({when:%H:%M:%S} UTC, version {health['version']})"
    console.print(_line(health["state"], health["state"], told))
    for concern in health["concerns"]:
        console.print(_line(concern["state"], concern["code"], concern["detail"]))
        console.print(Text(f"  users: {concern['users'] or 'they notice nothing'}", "dim"))
    table = Table(box=None, show_header=False, pad_edge=False)
    for title, lines in _sections(health["sections"], health["looked_at"]):
        table.add_row("", Text(title, "bold"), "")
        for state, name, known in lines:
            table.add_row(_mark(state), Text(name), Text(known))
    console.print(table)
    return EXITS[health["state"]]


def _line(state: str, name: str, known: str) -> Text:
    return Text.assemble(_mark(state), " ", (name, "bold"), "  ", known)


def _mark(state: str) -> Text:
    return Text(*MARKS[state]) if state else Text("")


def _sections(sections: dict[str, Any], now: float) -> Iterator[tuple[str, list[Line]]]:
    """Yield each section's title and lines."""
    if sections["nodes"]:
        yield "nodes", [_node(node, now) for node in sections["nodes"]]
    yield "data", [_tier(tier) for tier in sections["tiers"]]
    yield "runs", list(_queue(sections["queue"]))
    yield "models", [_model(model) for model in sections["models"]]
    yield "agents", [_agent(agent) for agent in sections["agents"]]
    yield "tools", list(_tools(sections["tools"]))
    if sections["tool_servers"]:
        yield "tool servers", [_tool_server(server) for server in sections["tool_servers"]]
    yield "parts", [_part(part) for part in sections["parts"]]
    yield "process", list(_process(sections))
    checks = sections["checks"]
    yield "checks", [("ok" if c["ok"] else "down", c["name"], c["detail"]) for c in checks]
    if spent := sections["spending"]:
        known = f"{spent['tokens']:,} tokens, {spent['usd']:.2f} USD, {spent['steps']:,} steps"
        yield "spent", [("", spent["day"], f"{known}, by {spent['users']} users")]


def _node(node: dict[str, Any], now: float) -> Line:
    """Return the line of a node; one that is up shows by its concerns whether it is well."""
    heard = f"heard {max(0.0, now - node['heard_at']):.0f} s ago"
    if node["state"] == "gone":
        return "down", node["name"], _joined(node["role"], "gone", heard)
    concerns = ", ".join(concern["code"] for concern in node["concerns"])
    away = ", ".join(f"{name} {state}" for name, state in node["tiers"].items() if state != "ok")
    known = _joined(
        f"{node['role']}{' (this one)' if node['is_this'] else ''}",
        "" if node["state"] == "up" else node["state"],
        heard,
        f"{node['running']} of {node['room']} runs" if node["room"] else "",
        f"{node['connections']} connections" if node["role"] != "worker" else "",
        f"version {node['version']}",
        away,
        concerns,
    )
    state = NODES[node["state"]]
    return "degraded" if state == "ok" and concerns else state, node["name"], known


def _tier(tier: dict[str, Any]) -> Line:
    facts = [tier["detail"]]
    if tier["latency_seconds"] is not None:
        facts.append(f"{tier['latency_seconds'] * 1000:.1f} ms")
    if tier["lag_seconds"] is not None:
        facts.append(f"{tier['lag_seconds']:.1f} s behind")
    return tier["state"], tier["name"], _joined(*facts, tier["meaning"])


def _queue(queue: dict[str, Any]) -> Iterator[Line]:
    counts = ("running", "queued", "ready", "waiting", "shed")
    yield "", "counts", _joined(*(f"{queue[name]} {name}" for name in counts))
    state = "degraded" if queue["overload"] else "ok"
    yield state, "room", f"one more would wait {queue['wait_seconds']:.1f} s"


def _model(model: dict[str, Any]) -> Line:
    known = _joined(model["breaker"], f"{model['under_way']} under way", model["fault"])
    return BREAKERS[model["breaker"]], model["name"], known


def _agent(agent: dict[str, Any]) -> Line:
    known = f"{agent['failed']} of {agent['ended']} failed, for {agent['users']} users"
    return "ok" if agent["well"] else "down", agent["name"], known


def _tools(tools: list[dict[str, Any]]) -> Iterator[Line]:
    well = [t for t in tools if not t["resting_users"] + t["trying_users"]]
    for tool in tools:
        if tool not in well:
            known = f"rests for {tool['resting_users']} users, tried for {tool['trying_users']}"
            yield "degraded", tool["name"], known
    yield "ok", f"{len(well)} tools", "in use"


def _tool_server(server: dict[str, Any]) -> Line:
    changed = f"changed, not called: {', '.join(server['changed'])}" if server["changed"] else ""
    known = _joined(f"{len(server['tools'])} tools accepted", server["fault"], changed)
    return SERVERS[server["state"]], server["name"], known


def _part(part: dict[str, Any]) -> Line:
    if not part["restarts"]:
        return "ok", part["name"], ""
    ago = f"{part['crashed_seconds']:.0f} s ago"
    return "degraded", part["name"], f"begun again {part['restarts']} times, last {ago}"


def _process(sections: dict[str, Any]) -> Iterator[Line]:
    loop = sections["loop"]
    late = f"{loop['lag_seconds'] * 1000:.0f} ms, at most {loop['lag_seconds_max'] * 1000:.0f} ms"
    yield "", "event loop", f"late by {late}"
    yield "", "stood still", _joined(f"{loop['blocks']} times", loop["last_block"])
    yield "", "connections", str(sections["connections"])
    yield "", "outbox", f"late by {sections['outbox_lag_seconds']:.1f} s"
    yield "", "clock", f"ahead of the store's by {sections['clock_ahead_seconds']:z.1f} s"


def _joined(*facts: str) -> str:
    return ", ".join(fact for fact in facts if fact)
