"""A server whose agent shows a text and is cut off; asked to go on, it answers with another."""

from tidings.agents.workflow import ANALYSIS
from tidings.app import App
from tidings.cli.serve import serve
from tidings.domain.errors import Failure
from tidings.domain.runs import Outcome
from tidings.models.port import Usage
from tidings.runs.context import RunContext
from tidings.runs.outcomes import Exchange, Fault


async def cut_off(ctx: RunContext) -> Outcome:
    async def ask() -> Exchange:
        await ctx.delta("first", "The answer beg")
        return Exchange(error=Fault("model_unavailable", "The model has gone."))

    async def ask_again() -> Exchange:
        await ctx.delta("second", "All is well.")
        return Exchange(usage=Usage())

    answer = await ctx.exchange(ask)
    if answer.error is not None and "go on" not in ctx.request.text:
        raise Failure(answer.error.code, answer.error.message)
    await ctx.exchange(ask_again)
    return Outcome("All is well.", status="degraded")


def register(app: App) -> None:
    app.agents.register(ANALYSIS, "A test's.", cut_off)


if __name__ == "__main__":
    serve(register)
