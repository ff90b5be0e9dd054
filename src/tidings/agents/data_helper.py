"""The data helper: what is missing, why it matters, and how to get it."""

from tidings.agents.questions import guidance
from tidings.agents.triage import Triaged
from tidings.models.tasks import Guidance
from tidings.runs.context import RunContext


async def advise(ctx: RunContext, triaged: Triaged) -> Guidance:
    """Return the guidance for this question and these data, and tell its gist."""
    advice = guidance(ctx.request.text, triaged.decision, triaged.coverage)
    if advice.missing:
        gains = "; ".join(f"`{field.field}` would allow {field.allows}" for field in advice.missing)
        await ctx.think(f"What more data would give: {gains}.", 0.2)
    return advice
