"""A server that does not wait long for acknowledgements, and whose agent answers at once."""

from tidings.app import App
from tidings.cli.serve import serve
from tidings.domain.runs import Outcome
from tidings.events import outbox
from tidings.notifications import deliveries, dispatcher
from tidings.runs.context import RunContext


async def echo(ctx: RunContext) -> Outcome:
    return Outcome(f"You said: {ctx.request.text}")


def hurry() -> None:
    """Shorten the waits of this process; not at import, for tests import this for its path."""
    outbox.NOTIFY_AFTER_SECONDS = 1.0
    dispatcher.SETTLE_SECONDS = 1.2
    deliveries.CLAIM_SECONDS = 2.0


def register(app: App) -> None:
    app.agents.register("echo", "A test's.", echo)


if __name__ == "__main__":
    hurry()
    serve(register)
