"""A workflow of agents: one of pydantic-ai, a plain function, and a person's word in between."""

from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel

from tidings.agents.pydantic_agents import pydantic_agent
from tidings.authoring import App, Outcome, RunContext, serve

write = pydantic_agent(Agent(TestModel(custom_output_text="Dear all, the lift is out of order.")))


async def check(ctx: RunContext) -> Outcome:
    """Say what is wrong with the text of a letter; any code that is the same each time will do."""
    words = len(ctx.request.text.split())
    return Outcome("It is too long." if words > 50 else "It is fine.")


async def letter(ctx: RunContext) -> Outcome:
    await ctx.plan("Write a letter", ["Write", "Check", "Ask whether it may go"])
    async with ctx.sub("writer", "Write the letter") as writer:
        draft = await write(writer)
    async with ctx.sub("checker", "Check it") as checker:
        remark = await check(checker)
    goes = await ctx.ask(f"{draft.answer}\n\n{remark.answer} May it go?", {"type": "boolean"})
    return Outcome(draft.answer if goes else "The letter was held back.", output={"goes": goes})


def register(app: App) -> None:
    app.agents.register("letter", "Writes letters to all.", letter)


if __name__ == "__main__":
    serve(register)
