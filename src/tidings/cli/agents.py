"""`tidings agents`: whom one can ask."""

from rich.console import Console
from rich.text import Text

from tidings.cli.ask import Server
from tidings.client.http import Api


async def show_agents(server: Server, console: Console) -> None:
    """Print the agents of a server by name, with what each does.

    Raises:
        TidingsError: the server refused, by code and sentence.
        Unavailable: `server_unreachable`.
    """
    agents = await Api(server.url, server.token).agents()
    width = max(len(agent["name"]) for agent in agents)
    for agent in agents:
        line = Text.assemble((f"{agent['name']:{width}}", "bold"), "  ", agent["description"])
        if agent["default"]:
            line.append("  (asked where none is named)", "dim")
        if not agent["well"]:
            line.append("  (has failed often of late)", "yellow")
        console.print(line, soft_wrap=True)
