"""One agent twice: served by hand with FastAPI, and by Tidings."""

from fastapi import FastAPI
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel

from tidings.agents.pydantic_agents import pydantic_agent
from tidings.authoring import App, serve

agent = Agent(TestModel(custom_output_text="Aisle 7."), instructions="Say where things are.")

by_hand = FastAPI()


@by_hand.post("/ask")
async def ask(question: str) -> str:
    """Before: for anybody, once, without a sign of life, and lost with the connection."""
    return (await agent.run(question)).output


def register(app: App) -> None:
    """After: for many users, live, resumed after a crash, stopped and budgeted, on any client."""
    app.agents.register("clerk", "Knows where things are.", pydantic_agent(agent))


if __name__ == "__main__":
    serve(register)
