"""A node whose agents pay, at a target that counts, and tell; in whichever role it is started."""

import asyncio
import os
from pathlib import Path

from tidings.app import App
from tidings.cli.serve import serve
from tidings.domain.facts import ToolResult
from tidings.domain.permissions import Effect
from tidings.domain.runs import Outcome
from tidings.runs.context import RunContext
from tidings.tools.port import ToolContext, tool

TARGET = "TIDINGS_TEST_TARGET"
"""The variable that names the file of the target: a line for each payment, by whom and for what."""
PAUSE_SECONDS = 0.05


@tool(name="pay", effect=Effect.WRITE, trusted=True)
async def pay(ctx: ToolContext, number: int) -> ToolResult:
    """Pay, which nobody wants to do twice."""
    _count(f"{os.getpid()} {ctx.idempotency_key}\n")
    return ToolResult(f"Paid {number}.")


def _count(line: str) -> None:
    with Path(os.environ[TARGET]).open("a") as target:
        target.write(line)


async def payer(ctx: RunContext) -> Outcome:
    """Pay as often as the text says."""
    count = int(ctx.request.text.split()[-1])
    await ctx.plan("Pay.", ["pay"])
    unknown = 0
    for number in range(count):
        await ctx.think(f"payment {number}", number / count)
        done = await ctx.tool("pay", {"number": number}, purpose="to have it paid")
        unknown += done.error is not None
        await asyncio.sleep(PAUSE_SECONDS)
    return Outcome(f"{count - unknown} paid, {unknown} unknown")


def register(app: App) -> None:
    app.tools.add(pay)
    app.agents.register("payer", "Pays.", payer)


if __name__ == "__main__":
    serve(register)
