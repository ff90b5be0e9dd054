"""`tidings tools`: the tool servers, their tools, and what was accepted of them."""

from typing import TYPE_CHECKING

from tidings.domain.errors import InvalidInput

if TYPE_CHECKING:
    from tidings.tools.mcp.servers import ServerFinding, ToolServers

DIGEST_SHOWN = 16


async def tool_lines(
    servers: "tuple[ToolServers, ...]", accept: str | None
) -> tuple[list[str], bool]:
    """Return what there is to say, and whether all servers answer with what was accepted.

    `accept` names a server whose tools are accepted as it lists them now.

    Raises:
        InvalidInput: `unknown_server`.
        Unavailable: `tool_server_down`: it cannot be asked what it has.
    """
    if not servers:
        if accept is not None:
            raise InvalidInput("unknown_server", "TIDINGS_MCP_FILE names no tool servers.")
        return ["no tool servers; name a file of them in TIDINGS_MCP_FILE"], True
    (known,) = servers
    if accept is not None:
        before = await known.accept(accept)
        after = [f for f in await known.findings() if f.name == accept]
        changed = [t.name for t in before.tools if t.state in {"new", "changed", "gone"}]
        said = f"accepted {accept}: {', '.join(changed) or 'nothing has changed'}"
        return [said, *(line for finding in after for line in _lines(finding))], True
    findings = await known.findings()
    good = all(not f.fault and _settled(f) for f in findings)
    return [line for finding in findings for line in _lines(finding)], good


def _settled(finding: "ServerFinding") -> bool:
    return not any(tool.state in {"changed", "gone"} for tool in finding.tools)


def _lines(finding: "ServerFinding") -> list[str]:
    if finding.fault:
        return [f"{finding.name}  down: {_plain(finding.fault)}"]
    lines = [f"{finding.name}  up"]
    for tool in finding.tools:
        digest = tool.digest[:DIGEST_SHOWN] or "-"
        lines.append(f"  {_plain(tool.name)}  {digest}  {tool.effect}  {_plain(tool.state)}")
    return lines


def _plain(text: str) -> str:
    """Return what others wrote as one line that moves no cursor."""
    return "".join(c if c.isprintable() else "?" for c in text)[:200]
