"""A tool server of your own, in MCP: a program that any agent's tools may come from.

It is named in the file that TIDINGS_MCP_FILE names:

    [servers.board]
    command = ["/path/to/python", "/path/to/tool_server.py"]
    [servers.board.tools.seats]
    effect = "read"
"""

from mcp.server import MCPServer

server = MCPServer("board")


@server.tool()
def seats(room: str) -> int:
    """Say how many seats a room has."""
    return len(room) * 4


@server.tool()
def book(room: str, day: str) -> str:
    """Book a room; whoever is asked for leave sees these arguments."""
    return f"{room} is booked for {day}."


if __name__ == "__main__":
    server.run("stdio")
