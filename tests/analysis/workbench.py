"""What the tests of analysis share: a sandbox of their own, and data sets made on the spot."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import duckdb

from tidings.analysis.dataset import Dataset
from tidings.analysis.importing.report import ImportReport
from tidings.analysis.sandbox.frames import Rows
from tidings.analysis.sandbox.pool import Sandbox, SandboxLimits

T = TypeVar("T")
SMALL = SandboxLimits(
    memory_bytes=256 << 20, address_space_bytes=2 << 30, children_max=2, queries_max=2
)
EXPANDED_BYTES_MAX = 64 << 20


def run(
    root: Path, scenario: Callable[[Sandbox], Awaitable[T]], limits: SandboxLimits = SMALL
) -> T:
    """Run the scenario with a sandbox that is closed afterwards."""

    async def whole() -> T:
        sandbox = Sandbox(root / "sandbox", limits)
        try:
            return await scenario(sandbox)
        finally:
            await sandbox.close()

    return asyncio.run(whole())


def numbers(path: Path, rows: int = 3) -> Dataset:
    """Return a data set of one column, `n` from 0."""
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"create table usage as select range as n from range({rows})")
    return Dataset(user_id="u_1", paths=(path,))


def imported(
    root: Path, name: str, content: bytes, *sql: str, expanded_bytes_max: int = EXPANDED_BYTES_MAX
) -> tuple[ImportReport, list[Rows]]:
    """Import the content as a file of that name; return the report and the answers."""
    upload = root / "upload"
    upload.write_bytes(content)
    folder = root / "stored"
    folder.mkdir()
    target = folder / "usage.duckdb"

    async def scenario(sandbox: Sandbox) -> tuple[ImportReport, list[Rows]]:
        report = await sandbox.load(upload, name, target, expanded_bytes_max=expanded_bytes_max)
        dataset = Dataset("u_1", (target,))
        return report, [await sandbox.query(dataset, statement, {}) for statement in sql]

    return run(root, scenario)
