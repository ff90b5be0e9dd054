"""A server whose agents end in every way that there is."""

import asyncio

from tests.fakes.models import says
from tests.harness.programs.cut_off import Speaker
from tidings.app import App
from tidings.cli.serve import serve
from tidings.domain.errors import Failure
from tidings.domain.runs import Outcome
from tidings.runs.context import RunContext


async def completes(ctx: RunContext) -> Outcome:
    return Outcome(f"You said: {ctx.request.text}")


async def degrades(ctx: RunContext) -> Outcome:
    await ctx.degrade("half_only", "The other half was not to be had.")
    return Outcome("Half of it.")


async def fails(ctx: RunContext) -> Outcome:
    raise Failure("no_luck", "It could not be done.")


async def cuts(ctx: RunContext) -> Outcome:
    try:
        gone = Speaker("The answer beg", gone=True)
        await ctx.model(says("go"), on_text=lambda t: ctx.delta("first", t), models=(gone,))
    except Failure:
        return Outcome("This is the answer.", status="degraded")
    raise AssertionError


async def breaks(ctx: RunContext) -> Outcome:
    raise ZeroDivisionError


async def waits(ctx: RunContext) -> Outcome:
    await ctx.think("I wait until I am stopped.", 0.5)
    await asyncio.Event().wait()
    raise AssertionError("nobody sets this event")


def register(app: App) -> None:
    for agent in (completes, degrades, fails, cuts, breaks, waits):
        app.agents.register(agent.__name__, "A test's.", agent)


if __name__ == "__main__":
    serve(register)
