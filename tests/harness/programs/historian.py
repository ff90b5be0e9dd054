"""A server whose history is fed at once, with an agent that asks the planner nothing."""

from tidings.app import App, tiers
from tidings.cli.serve import serve
from tidings.domain.runs import Outcome
from tidings.history import exporter
from tidings.history.exporter import ExportPolicy
from tidings.runs.context import RunContext


async def echo(ctx: RunContext) -> Outcome:
    await ctx.think("Nothing to think about.", 0.5)
    await ctx.delta("m1", f"You said: {ctx.request.text}")
    return Outcome(f"You said: {ctx.request.text}")


def hurry() -> None:
    """Shorten the waits of this process; not at import, for tests import this for its path."""
    exporter.SETTLED_SECONDS = 0.0
    exporter.RETRY_SECONDS_MAX = 0.2
    exporter.DUTY_SECONDS = 1.0
    policy = ExportPolicy(0.1, 0.0, 1)
    vars(tiers).update(STEADY=policy, SELDOM=policy)


def register(app: App) -> None:
    app.agents.register("echo", "A test's.", echo)


if __name__ == "__main__":
    hurry()
    serve(register)
