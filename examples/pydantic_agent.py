"""An agent of pydantic-ai, served: its requests and calls become recorded steps and live events."""

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel

from tidings.agents.pydantic_agents import pydantic_agent
from tidings.authoring import App, serve


class Stock(BaseModel):
    """What the answer holds, for programs; people are shown it too."""

    part: str
    count: int


# any model of pydantic-ai; without one, the server's models are asked
agent = Agent(TestModel(), output_type=Stock, instructions="Say how many there are.")


@agent.tool_plain(metadata={"effect": "read"})
def stock(part: str) -> int:
    """Say how many of a part are in stock."""
    return len(part) * 7


def register(app: App) -> None:
    app.agents.register("warehouse", "Knows the stock.", pydantic_agent(agent))


if __name__ == "__main__":
    serve(register)
