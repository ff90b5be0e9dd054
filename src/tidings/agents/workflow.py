"""The agent `analysis`: data in, questions answered by figures that can be traced."""

from collections.abc import Iterable

from tidings.agents.loop import specs
from tidings.agents.reporter import Save
from tidings.agents.supervisor import Supervisor
from tidings.domain.runs import Outcome
from tidings.runs.context import RunContext
from tidings.runs.port import Agent
from tidings.tools.port import Tool

ANALYSIS = "analysis"
DESCRIPTION = "Says what your language-model spend buys, and how to cut cost and latency."


def analysis_workflow(tools: Iterable[Tool], save: Save) -> Agent:
    """Return the agent `analysis`.

    `tools` are those the analyst may use, read when a run begins; `save` keeps reports.
    """

    async def analysis(ctx: RunContext) -> Outcome:
        return await Supervisor(ctx, specs(tools), save).lead()

    return analysis
