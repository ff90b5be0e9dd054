"""The analyst: calls tools and digs further; it never states a figure itself."""

from tidings.agents import prompts
from tidings.agents.loop import Assignment, work
from tidings.agents.notebook import Notebook
from tidings.agents.triage import Triaged
from tidings.agents.voice import Voice
from tidings.models.port import ToolSpec
from tidings.models.tasks import AnalysisTask, Called
from tidings.runs.context import RunContext


async def analyse(
    ctx: RunContext,
    voice: Voice,
    notebook: Notebook,
    *,
    triaged: Triaged,
    tools: tuple[ToolSpec, ...],
    reserve_seconds: float,
) -> None:
    """Fill the notebook with what the question needs."""
    question = ctx.request.text

    def task(calls: tuple[Called, ...]) -> AnalysisTask:
        return AnalysisTask(question, triaged.decision, triaged.coverage, calls)

    opening = prompts.analyst_opening(
        question, triaged.decision, notebook.calls, await ctx.history()
    )
    assignment = Assignment(prompts.ANALYST, opening, tools, task, reserve_seconds)
    await work(ctx, voice, notebook, assignment)
