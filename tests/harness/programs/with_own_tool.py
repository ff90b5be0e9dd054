"""A server with the example's tool, and an agent that calls it."""

from examples.own_tool import register as register_tool
from tidings.app import App
from tidings.cli.serve import serve
from tidings.domain.runs import Outcome
from tidings.runs.context import RunContext


async def counts_energy(ctx: RunContext) -> Outcome:
    called = await ctx.tool("energy_of", {"tokens": 2000}, purpose="See what it took")
    return Outcome(str(called.result.facts[0].value if called.result else called.error))


def register(app: App) -> None:
    register_tool(app)
    app.agents.register("counts_energy", "A test's.", counts_energy)


if __name__ == "__main__":
    serve(register)
