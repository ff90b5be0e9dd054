"""An agent of your own: an async function that works by its context's recorded steps."""

from tidings.authoring import App, Outcome, RunContext, serve


async def greeter(ctx: RunContext) -> Outcome:
    await ctx.plan("Greet the user", ["Look at the data, if there are any", "Greet"])
    greeting = "Hello!"
    if ctx.request.files:
        seen = await ctx.tool("describe_data", {}, purpose="See what came along")
        greeting += f" {seen.result.summary}" if seen.result else " I could not read your file."
    await ctx.think("Now I greet.", 0.9)
    await ctx.delta("greeting", greeting)
    return Outcome(answer=greeting)


def register(app: App) -> None:
    app.agents.register("greeter", "Greets.", greeter)


if __name__ == "__main__":
    serve(register)
