"""`tidings usage` and `tidings levels`: what was taken, and how well it was served."""

from typing import Any

from rich.console import Console
from rich.table import Table as Lines

from tidings.domain.context import SERVER
from tidings.history.service import History


async def show_usage(history: History, names: dict[str, str], days: int, console: Console) -> None:
    """Print what everybody's runs have taken, by day, user and model; `names` is by user id."""
    found = await history.usage(SERVER, days)
    table = Lines("day", "user", "model", "requests", "tokens", "USD", box=None)
    for line in found["days"]:
        usd = f"{line.cost_usd:.4f}" + ("+" if line.unpriced else "")
        tokens = line.input_tokens + line.output_tokens
        name = names.get(line.user_id, line.user_id)
        table.add_row(line.day, name, line.model, f"{line.requests}", f"{tokens}", usd)
    console.print(table if found["days"] else "nothing was taken")
    console.print(f"complete to {found['complete_to']}; + has requests without a known price")


async def show_levels(history: History, days: int, console: Console) -> None:
    """Print latencies of delivery, and how runs ended."""
    found = await history.levels(days)
    table = Lines("", "count", "p50", "p95", "p99", box=None)
    for what, seen in found["latencies"].items():
        table.add_row(what.replace("_", " "), *_counted(seen))
    for run in found["runs"]:
        table.add_row(f"{run['agent']} {run['outcome']}", *_counted(run["seconds"]))
    console.print(table)
    share = found["acknowledged"]
    told = "nothing was sent" if share is None else f"{share:.2%} of what was sent and looked at"
    console.print(f"acknowledged: {told}; complete to {found['complete_to']}")


def _counted(seen: dict[str, Any]) -> list[str]:
    """Return a row's cells: the bounds below which the times lie."""
    if not seen["count"]:
        return ["0", "", "", ""]
    bounds = [seen[name] for name in ("p50", "p95", "p99")]
    return [f"{seen['count']}", *("long" if b is None else f"{b:g} s" for b in bounds)]
