"""A server whose agent shows a text and is cut off; asked to go on, it answers with another."""

from tests.fakes.models import says
from tidings.agents.workflow import ANALYSIS
from tidings.app import App
from tidings.cli.serve import serve
from tidings.domain.errors import Failure
from tidings.domain.runs import Outcome
from tidings.models.port import ModelReply, ModelRequest, OnText
from tidings.runs.context import RunContext


class Speaker:
    """A model that says its text, and may then be gone."""

    name = "test:speaker"

    def __init__(self, text: str, *, gone: bool = False) -> None:
        self._text = text
        self._gone = gone

    async def respond(self, _: ModelRequest, on_text: OnText) -> ModelReply:
        await on_text(self._text)
        if self._gone:
            raise Failure("model_unavailable", "The model has gone.")
        return ModelReply(self.name, self._text)


async def cut_off(ctx: RunContext) -> Outcome:
    try:
        first = Speaker("The answer beg", gone=True)
        await ctx.model(says("go"), on_text=lambda t: ctx.delta("first", t), models=(first,))
    except Failure:
        if "go on" not in ctx.request.text:
            raise
        await ctx.degrade("model_fallback", "The model has gone; another one answers.")
    second = Speaker("All is well.")
    reply = await ctx.model(says("go"), on_text=lambda t: ctx.delta("second", t), models=(second,))
    return Outcome(reply.text)


def register(app: App) -> None:
    app.agents.register(ANALYSIS, "A test's.", cut_off)


if __name__ == "__main__":
    serve(register)
