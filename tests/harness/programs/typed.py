"""A server whose agent of pydantic-ai answers with a value of many shapes, some hostile."""

from typing import Any

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel

from tests.harness.programs.hostile import HOSTILE
from tidings.agents.pydantic_agents import pydantic_agent
from tidings.agents.workflow import ANALYSIS
from tidings.app import App
from tidings.cli.serve import serve

ROWS = 130
LARGE = 12345678901234567890
"""What a browser's numbers cannot hold."""


class Advice(BaseModel):
    """What to order, where, and why."""

    title: str
    unit_price: float
    is_urgent: bool
    supplier: str | None
    serial: int
    tags: list[str]
    stores: list[dict[str, Any]]
    packing: dict[str, Any]
    hostile: dict[str, Any]


ADVICE: dict[str, Any] = {
    "title": HOSTILE[0],
    "unit_price": 0.12,
    "is_urgent": True,
    "supplier": None,
    "serial": LARGE,
    "tags": ["steel", HOSTILE[1]],
    "stores": [{"store": "Berlin", "left": 12}, {"store": HOSTILE[2], "left": None}],
    "packing": {"box": {"size": {"deep": "inside"}}, "rows": [{"n": n} for n in range(ROWS)]},
    "hostile": {text.replace("\0", ""): text.replace("\0", "") for text in HOSTILE}
    | {"__proto__": "a name", "```": "```\n# no heading\n[no link](javascript:1)"},
}


def register(app: App) -> None:
    agent = Agent(TestModel(custom_output_args=ADVICE), output_type=Advice)
    app.agents.register(ANALYSIS, "Advises what to order.", pydantic_agent(agent))


if __name__ == "__main__":
    serve(register)
