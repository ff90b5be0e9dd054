"""A server whose every question is answered by a clerk who asks before anything is ordered."""

from examples.asking_agent import order, shopper
from tidings.agents.workflow import ANALYSIS
from tidings.app import App
from tidings.cli.serve import serve
from tidings.domain.facts import Column, Table, ToolResult, Unit
from tidings.domain.permissions import Effect
from tidings.domain.runs import Outcome
from tidings.runs.context import RunContext
from tidings.runs.rulings import ToolRequest
from tidings.tools.port import ToolContext, tool

SERVERS = 500
BOOKING = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "Where you sleep."},
        "nights": {"type": "integer"},
        "breakfast": {"type": "boolean"},
        "guests": {"type": "array", "items": {"type": "string"}},
        "bill": {
            "type": "object",
            "properties": {"paid_by": {"type": "string"}, "as": {"enum": ["cash", "card"]}},
            "required": ["paid_by"],
        },
        "floors": {"type": "array", "items": {"type": "integer"}},
    },
    "required": ["city", "nights"],
}
COLUMNS = (Column("name", Unit.NAME, "Server"), Column("rack", Unit.NAME, "Rack"))


@tool(effect=Effect.READ, trusted=True)
async def stock(ctx: ToolContext) -> ToolResult:
    """List the servers that there are: more than an event shows."""
    rows = tuple((f"server-{n}", f"<b>rack {n % 7}</b>") for n in range(SERVERS))
    return ToolResult("These are the servers.", table=Table(COLUMNS, rows))


async def clerk(ctx: RunContext) -> Outcome:
    """Orders both sizes for "both", lists what there is for "stock", asks a form for "book"."""
    if "stock" in ctx.request.text:
        done = await ctx.tool("stock", {}, purpose="You want to know")
        return Outcome(done.result.summary if done.result else "There is no list.")
    if "book" in ctx.request.text:
        booked = await ctx.ask("What shall I book?", BOOKING)
        rest = {name: booked[name] for name in booked if name not in {"nights", "city"}}
        return Outcome(f"Booked: {booked['nights']} nights in {booked['city']}, {rest}.")
    if "both" in ctx.request.text:
        orders = [
            ToolRequest("order", {"size": size}, "You asked for both")
            for size in ("small", "large")
        ]
        ends = [end.result.summary if end.result else "no" for end in await ctx.tools(orders)]
        return Outcome(" | ".join(ends))
    return await shopper(ctx)


def register(app: App) -> None:
    app.tools.add(order)
    app.tools.add(stock)
    app.agents.register(ANALYSIS, "Orders servers.", clerk)


if __name__ == "__main__":
    serve(register)
