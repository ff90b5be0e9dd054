"""What the tests of tools share: a library with one user's log in it, and calls on it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tests.analysis.workbench import SMALL
from tests.fakes.ports import CountingIds, ManualClock
from tests.stores import store_in
from tidings.analysis.library import Library, LibraryLimits
from tidings.analysis.prices import PriceList
from tidings.analysis.sandbox.pool import Sandbox
from tidings.domain.context import UserContext
from tidings.domain.facts import Fact, ToolResult, all_facts
from tidings.tools.catalogue import Catalogue
from tidings.tools.port import ToolContext
from tidings.tools.usage import usage_tools

T = TypeVar("T")
ALICE = UserContext("t_1", "u_alice", "s_1")
PRICES = PriceList()


async def chunked(content: bytes, size: int = 64 << 10) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def run(
    root: Path,
    scenario: Callable[[Library, Sandbox], Awaitable[T]],
    limits: LibraryLimits | None = None,
) -> T:
    """Run the scenario with a library of its own, on the real database and sandbox."""

    async def whole() -> T:
        database = store_in(root)
        sandbox = Sandbox(root / "sandbox", SMALL)
        library = Library(
            root / "files",
            database,
            sandbox,
            ManualClock(),
            CountingIds(),
            limits or LibraryLimits(),
        )
        try:
            return await scenario(library, sandbox)
        finally:
            await sandbox.close()
            await database.close()

    return asyncio.run(whole())


class Workshop:
    """Calls tools, one after the other, in one run over one log."""

    def __init__(self, library: Library, sandbox: Sandbox, files: tuple[str, ...]) -> None:
        self.catalogue = Catalogue(usage_tools(library, sandbox, PRICES))
        self.files = files
        self.facts: dict[str, Fact] = {}
        self.results: dict[str, ToolResult] = {}

    async def call(self, name: str, **arguments: Any) -> ToolResult:
        """Call the tool as an agent would; its facts are there for the next call."""
        tool, values = self.catalogue.check(name, json.loads(json.dumps(arguments)))
        call_id = f"c{len(self.results) + 1}"
        context = ToolContext(ALICE, "run_1", call_id, "key", self.files, self.facts, self.results)
        result = await tool.call(context, values)
        self.results[call_id] = result
        self.facts.update({fact.id: fact for fact in all_facts(name, call_id, result)})
        return result


def with_log(root: Path, content: str, scenario: Callable[[Workshop], Awaitable[T]]) -> T:
    """Run the scenario with tools over a log of this content."""

    async def whole(library: Library, sandbox: Sandbox) -> T:
        stored = await library.add(ALICE, "log.csv", chunked(content.encode()))
        return await scenario(Workshop(library, sandbox, (stored.file_id,)))

    return run(root, whole)


def call(root: Path, content: str, name: str, **arguments: Any) -> ToolResult:
    """Return what one tool finds in a log of this content."""
    return with_log(root, content, lambda workshop: workshop.call(name, **arguments))


def scalars(result: ToolResult) -> dict[str, Any]:
    """Return the named facts, without the call's id."""
    return {fact.id.partition(".")[2]: fact.value for fact in result.facts}


def rows(result: ToolResult) -> list[Mapping[str, Any]]:
    """Return the rows of the table by column."""
    if result.table is None:
        return []
    names = [column.name for column in result.table.columns]
    return [dict(zip(names, row, strict=True)) for row in result.table.rows]
