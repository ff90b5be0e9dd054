"""A tool server at work with a catalogue and a real store, as the application wires them."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.stores import store_in
from tidings.domain.context import UserContext
from tidings.domain.errors import TidingsError
from tidings.domain.facts import ToolResult
from tidings.egress.addresses import AllowedHosts
from tidings.egress.http import Egress, Resolve, system_resolve
from tidings.settings import variables
from tidings.system import SystemClock
from tidings.tools.catalogue import Catalogue
from tidings.tools.mcp.configuration import ToolServer
from tidings.tools.mcp.servers import ToolServers
from tidings.tools.port import Tool, ToolContext

PROGRAM = Path(__file__).parents[2] / "harness" / "programs" / "tool_server.py"
CONTEXT = ToolContext(UserContext("acme", "ana", "s1"), "run_1", "c1", "run_1/c1", (), {}, {})


@dataclass(frozen=True)
class Bench:
    """The servers and what they have put into the catalogue."""

    servers: ToolServers
    catalogue: Catalogue

    async def call(self, tool: str, **arguments: Any) -> ToolResult:
        """Call a tool as runs do: with checked arguments and within its time."""
        found, values = self.catalogue.check(tool, arguments)
        async with asyncio.timeout(found.deadline_seconds):
            return await found.call(CONTEXT, values)

    async def refused(self, tool: str, **arguments: Any) -> TidingsError:
        with pytest.raises(TidingsError) as error:
            await self.call(tool, **arguments)
        return error.value

    async def offers(self, tool: str) -> None:
        """Wait until the catalogue has the tool."""
        while tool not in {tool.name for tool in self.catalogue}:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)

    async def up(self, tool: str, **arguments: Any) -> ToolResult:
        """Wait until the server takes calls again."""
        while True:
            try:
                return await self.call(tool, **arguments)
            except TidingsError as error:
                if error.code not in {"tool_server_down", "tool_server_lost"}:
                    raise
            await asyncio.sleep(0.02)


@asynccontextmanager
async def bench(
    path: Path,
    servers: dict[str, ToolServer],
    tools: Iterable[Tool] = (),
    *,
    environment: dict[str, str] | None = None,
    allowed: Iterable[str] = (),
    resolve: Resolve = system_resolve,
    works: bool = True,
) -> AsyncIterator[Bench]:
    """Keep tool servers around the block, on the store in `path`; or only know of them."""
    database = store_in(path)
    catalogue = Catalogue(tools)
    made = ToolServers(
        servers,
        lambda names: variables(names, environment or {}),
        Egress(AllowedHosts(allowed), resolve),
        database,
        catalogue,
        SystemClock(),
        random.Random(7),
    )
    await made.begin()
    try:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(made.run() if works else made.follow())
            try:
                yield Bench(made, catalogue)
            finally:
                running.cancel()
    finally:
        await database.close()


def program(**more: Any) -> ToolServer:
    """Return the settings of the test's program."""
    return ToolServer(
        command=(sys.executable, str(PROGRAM)),
        environment=("NOTES",),
        **({"call_seconds": 5.0} | more),
    )


def notes(path: Path) -> list[str]:
    file = path / "notes"
    return file.read_text().splitlines() if file.exists() else []
