"""A tool server as the library makes them, of the newest kind."""

from mcp.server import MCPServer

server = MCPServer("modern")


@server.tool()
def add(left: int, right: int = 1) -> int:
    """Add two numbers."""
    return left + right


@server.tool()
def divide(left: int, right: int) -> float:
    """Divide two numbers."""
    return left / right


if __name__ == "__main__":
    server.run("stdio")
