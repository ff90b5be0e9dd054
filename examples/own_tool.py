"""A tool of your own: typed arguments in, a result with facts out; every agent may call it."""

from tidings.authoring import App, Effect, Fact, ToolContext, ToolResult, Unit, serve, tool


@tool(effect=Effect.READ)
async def energy_of(ctx: ToolContext, tokens: int, wh_per_thousand: float = 0.3) -> ToolResult:
    """Estimate the energy that a number of tokens took, in watt-hours."""
    energy = Fact(
        id=f"{ctx.call_id}.wh",
        value=tokens / 1000 * wh_per_thousand,
        unit=Unit.COUNT,
        label="Energy in Wh",
        tool="energy_of",
        call_id=ctx.call_id,
        source=f"{tokens} / 1000 * {wh_per_thousand}",
        rows=0,
    )
    return ToolResult(summary="The energy these tokens took.", facts=(energy,))


def register(app: App) -> None:
    app.tools.add(energy_of)


if __name__ == "__main__":
    serve(register)
