"""An agent that asks before it acts: it waits for days if need be, without a worker."""

from tidings.authoring import App, Effect, Outcome, RunContext, ToolContext, ToolResult, serve, tool

SIZES = {"type": "string", "enum": ["small", "large"]}


@tool(effect=Effect.KEYED)
async def order(ctx: ToolContext, size: str) -> ToolResult:
    """Order a server; the key makes sure that it is ordered once."""
    return ToolResult(f"A {size} server is ordered ({ctx.idempotency_key}).")


async def shopper(ctx: RunContext) -> Outcome:
    await ctx.plan("Order a server", ["Ask which", "Order it"])
    size = await ctx.ask("Which size?", SIZES)
    done = await ctx.tool("order", {"size": size}, purpose="You asked for it")
    if done.result is None:
        return Outcome(f"Not ordered. {done.error.message if done.error else ''}")
    return Outcome(done.result.summary)


def register(app: App) -> None:
    app.tools.add(order)
    app.agents.register("shopper", "Orders servers.", shopper)


if __name__ == "__main__":
    serve(register)
