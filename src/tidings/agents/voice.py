"""The model an agent speaks with, and who stands in when it fails."""

from tidings.domain.errors import TidingsError
from tidings.models.planner import Planner
from tidings.models.port import ModelReply, ModelRequest, unseen
from tidings.runs.context import RunContext

MODEL_FAILURES_MAX = 2


class Voice:
    """The run's model; after a failure the built-in planner answers the same task, and says so."""

    def __init__(self) -> None:
        self.planner = Planner()
        self._failures = 0

    @property
    def trusted(self) -> bool:
        """Return whether the run's model is still asked."""
        return self._failures < MODEL_FAILURES_MAX

    async def ask(self, ctx: RunContext, request: ModelRequest) -> ModelReply:
        """Return the model's reply, or the planner's."""
        if self.trusted:
            try:
                return await ctx.model(request)
            except (TidingsError, TimeoutError) as error:
                await self.lost(ctx, error)
        return await self.planner.respond(request, unseen)

    def silence(self) -> None:
        """Ask the run's model no more."""
        self._failures = MODEL_FAILURES_MAX

    async def lost(self, ctx: RunContext, error: TidingsError | TimeoutError) -> None:
        """Take note that the model failed, and tell the user."""
        self._failures += 1
        code, why = said(error)
        await ctx.degrade(
            "model_fallback", f"{why} The built-in planner goes on in its place.", cause=code
        )


def said(error: TidingsError | TimeoutError) -> tuple[str, str]:
    """Return an error's code and its sentence."""
    if isinstance(error, TidingsError):
        return error.code, error.message
    return "timeout", "It did not finish in its time."
