"""All tool servers of the operator: kept while the server runs, looked at and accepted without."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass

from tidings.domain.errors import InvalidInput, Unavailable
from tidings.domain.ports import Clock
from tidings.egress.http import Egress
from tidings.health.overview import ToolServerHealth
from tidings.storage.warm.port import Database
from tidings.tools.catalogue import Catalogue
from tidings.tools.mcp.configuration import Environment, ToolServer
from tidings.tools.mcp.connection import FAULTS, START_SECONDS, Open, connection
from tidings.tools.mcp.http import address
from tidings.tools.mcp.listing import Listed, Listing
from tidings.tools.mcp.pins import Pins
from tidings.tools.mcp.server import KeptServer, reason
from tidings.tools.mcp.stdio import program

FOLLOW_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ToolFinding:
    """A tool as it stands: `state` is accepted, new, changed, gone, or why it is not offered."""

    name: str
    digest: str
    state: str
    effect: str


@dataclass(frozen=True, slots=True)
class ServerFinding:
    """A tool server as it stands: its tools, or why it cannot be reached."""

    name: str
    fault: str
    tools: tuple[ToolFinding, ...]


class ToolServers:
    """The tool servers of the operator's file.

    Raises:
        InvalidInput: `bad_setting`: a variable is not set; `url_blocked`: an address may not be
            called.
    """

    def __init__(
        self,
        servers: Mapping[str, ToolServer],
        environment: Environment,
        egress: Egress,
        database: Database,
        catalogue: Catalogue,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._settings = servers
        self._pins = Pins(database, clock)
        self._opens = {
            name: opening(server, environment, egress) for name, server in servers.items()
        }
        self._kept = [
            KeptServer(name, server, self._opens[name], self._pins, catalogue, clock, rng)
            for name, server in servers.items()
        ]

    async def begin(self) -> None:
        """Put the tools that were accepted before into the catalogue."""
        for server in self._kept:
            await server.begin()

    async def run(self) -> None:
        """Keep all of them connected, for ever."""
        async with asyncio.TaskGroup() as tasks:
            for server in self._kept:
                tasks.create_task(server.run(), name=f"tool server {server.name}")

    async def follow(self) -> None:
        """Have in the catalogue what others accept, without connecting to any server, for ever."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            try:
                await self.begin()
            except Unavailable:
                continue  # the next look will tell

    def health(self) -> tuple[ToolServerHealth, ...]:
        """Return how each of them is, in the order of the file."""
        return tuple(server.health() for server in self._kept)

    async def findings(self) -> list[ServerFinding]:
        """Connect to each, and compare what it lists with what was accepted."""
        return [await self._finding(name) for name in self._settings]

    async def accept(self, name: str) -> ServerFinding:
        """Accept the tools of a server as it lists them now; return what was found before.

        Raises:
            InvalidInput: `unknown_server`.
            Unavailable: `tool_server_down`.
        """
        if name not in self._settings:
            known = ", ".join(self._settings) or "none"
            raise InvalidInput("unknown_server", f"There is no tool server {name}. Known: {known}.")
        try:
            listed = await self._listing(name)
        except FAULTS as error:
            raise Unavailable("tool_server_down", f"{name}: {reason(error)}") from error
        finding = self._compared(name, listed, await self._pins.accepted(name))
        await self._pins.accept(name, listed.tools)
        return finding

    async def _finding(self, name: str) -> ServerFinding:
        accepted = await self._pins.accepted(name)
        try:
            listed = await self._listing(name)
        except FAULTS as error:
            return ServerFinding(name, reason(error), ())
        return self._compared(name, listed, accepted)

    async def _listing(self, name: str) -> Listing:
        async with connection(name, self._opens[name]) as link, asyncio.timeout(START_SECONDS):
            return await link.tools()

    def _compared(self, server: str, listed: Listing, accepted: dict[str, Listed]) -> ServerFinding:
        tools = []
        for name in sorted({*listed.tools, *listed.unusable, *accepted}):
            tool = listed.tools.get(name) or accepted.get(name)
            state = listed.unusable.get(name) or _state(listed.tools.get(name), accepted.get(name))
            effect = self._settings[server].effect(name).value
            tools.append(ToolFinding(name, tool.digest if tool else "", state, effect))
        return ServerFinding(server, "", tuple(tools))


def opening(server: ToolServer, environment: Environment, egress: Egress) -> Open:
    """Return how a server is reached, with the values of the variables that it names."""
    if server.command:
        passed = dict(environment(list(server.environment)))
        return lambda ending: program(server.command, server.directory, passed, ending)
    egress.check(server.url)
    values = environment(list(server.headers.values()))
    headers = {header: values[variable] for header, variable in server.headers.items()}
    return lambda ending: address(server.url, headers, egress, server.call_seconds, ending)


def _state(listed: Listed | None, accepted: Listed | None) -> str:
    if listed is None:
        return "gone"
    if accepted is None:
        return "new"
    return "accepted" if listed.digest == accepted.digest else "changed"
