"""`tidings doctor`: what is configured, reachable, writable, and in which versions."""

import platform
import sqlite3
from dataclasses import fields
from importlib.metadata import version

from rich.console import Console
from rich.table import Table

from tidings.app import App
from tidings.domain.tiers import TierState
from tidings.settings import PREFIX, SECRETS, Settings, unknown

LIBRARIES = ("duckdb", "uvicorn", "fastapi", "websockets", "pydantic-ai-slim", "genai-prices")


async def examine(app: App, settings: Settings, console: Console) -> bool:
    """Print what is found; return whether a server could work here."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("[bold]versions")
    table.add_row("", "tidings", version("tidings"))
    table.add_row("", "python", f"{platform.python_version()} on {platform.platform()}")
    table.add_row("", "sqlite", sqlite3.sqlite_version)
    for library in LIBRARIES:
        table.add_row("", library, version(library))
    table.add_row("[bold]settings")
    for setting in fields(Settings):
        value = getattr(settings, setting.name)
        shown = "set" if value and setting.name in SECRETS else str(value) or "not set"
        table.add_row("", f"{PREFIX}{setting.name.upper()}", shown)
    table.add_row("[bold]checks")
    healthy = True
    for finding in await app.readiness.findings():
        healthy = healthy and finding.ok
        table.add_row("[green]✔" if finding.ok else "[red]✘", finding.name, finding.detail)
    for tier in await app.tiers():
        answers = tier.latency_seconds is not None
        # What is behind, or hears nothing, is a matter for servers: none works in this process.
        well = tier.detail if tier.state is TierState.OK else "answers"
        mark = "[green]✔" if answers else "[yellow]▲"
        table.add_row(mark, tier.name, well if answers else tier.detail)
    for sentence in unknown():
        table.add_row("[yellow]▲", "settings", sentence)
    for measure, in_force in sorted((await app.confinement()).items()):
        table.add_row("[green]✔" if in_force else "[yellow]▲", "sandbox", measure)
    console.print(table)
    return healthy
