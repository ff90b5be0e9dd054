"""A server whose every question is answered by the example that asks before it acts."""

from examples.asking_agent import order, shopper
from tidings.agents.workflow import ANALYSIS
from tidings.app import App
from tidings.cli.serve import serve


def register(app: App) -> None:
    app.tools.add(order)
    app.agents.register(ANALYSIS, "Orders servers.", shopper)


if __name__ == "__main__":
    serve(register)
