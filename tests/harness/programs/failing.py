"""A server with an agent that always fails, and one that holds the event loop when asked to."""

import time

from tidings.app import App
from tidings.cli.serve import serve
from tidings.domain.runs import Outcome
from tidings.runs.context import RunContext

BLOCK_SECONDS = 2.5


async def fails(ctx: RunContext) -> Outcome:
    raise ValueError


async def blocks(ctx: RunContext) -> Outcome:
    time.sleep(BLOCK_SECONDS)  # noqa: ASYNC251 - this is what an agent must not do
    return Outcome("It has blocked.")


def register(app: App) -> None:
    app.agents.register("fails", "A test's.", fails)
    app.agents.register("blocks", "A test's.", blocks)


if __name__ == "__main__":
    serve(register)
