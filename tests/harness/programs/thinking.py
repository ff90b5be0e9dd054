"""A server with an agent that does nothing but think: many critical events, quickly."""

import asyncio

from tidings.app import App
from tidings.cli.serve import serve
from tidings.domain.runs import Outcome
from tidings.runs.context import RunContext

THOUGHTS = 2_000
AT_ONCE = 20


async def thinking(ctx: RunContext) -> Outcome:
    await ctx.plan("Think", ["think"])
    for number in range(THOUGHTS):
        await ctx.think(f"thought {number}", number / THOUGHTS)
        if number % AT_ONCE == 0:
            await asyncio.sleep(0.005)
    return Outcome("thought")


def register(app: App) -> None:
    app.agents.register("thinking", "Thinks.", thinking)


if __name__ == "__main__":
    serve(register)
