"""The supervisor: owns a run's plan, deadline and recovery; reporting is always reached."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tidings.agents import analyst, data_helper
from tidings.agents.notebook import Notebook
from tidings.agents.questions import Sufficiency, guidance
from tidings.agents.reporter import Reporter, Save, plain_outcome
from tidings.agents.triage import Triaged, by_words, triage
from tidings.agents.voice import Voice, said
from tidings.domain.errors import TidingsError
from tidings.domain.runs import Outcome
from tidings.models.port import ToolSpec
from tidings.models.tasks import Family, Guidance, ReportTask
from tidings.runs.context import RunContext

T = TypeVar("T")

REPORTER = "reporter"

REPORT_SHARE = 0.2
"""The share of a run's time that is kept for reporting."""
FALLBACK_SHARE = 0.1
"""The share of what remains that is kept for the answer of a reporter that hangs."""

PLAN = [
    "Look at the data and understand the question",
    "Say what is missing, if anything is",
    "Analyse with tools",
    "Write the answer, check it, and keep the report",
]


class Supervisor:
    """Leads the other agents through one run; what fails is replaced by its fallback."""

    def __init__(self, ctx: RunContext, tools: tuple[ToolSpec, ...], save: Save) -> None:
        self._ctx = ctx
        self._tools = tools
        self._save = save
        self._voice = Voice()
        self._notebook = Notebook()
        self._troubles: list[str] = []

    async def lead(self) -> Outcome:
        """Return the outcome of the run; there always is one."""
        await self._ctx.plan("Answer a question about language-model usage", PLAN)
        triaged = await self._triage()
        if triaged.sufficiency is not Sufficiency.SUFFICIENT:
            await self._advise(triaged)
        if _worth_analysing(triaged):
            await self._analyse(triaged)
        return await self._report(triaged)

    async def _triage(self) -> Triaged:
        async def work(sub: RunContext) -> tuple[Triaged, str]:
            triaged = await triage(sub, self._voice, self._notebook)
            return triaged, f"{triaged.decision.family}: the data are {triaged.sufficiency}"

        fallback = by_words(self._ctx.request.text)
        return await self._delegate("triage", "Understand the question", work, fallback)

    async def _advise(self, triaged: Triaged) -> None:
        async def work(sub: RunContext) -> tuple[Guidance, str]:
            advice = await data_helper.advise(sub, triaged)
            return advice, "Said what is missing, and how to get it"

        fallback = self._guidance(triaged)
        await self._delegate("data_helper", "Say which fields are missing", work, fallback)

    async def _analyse(self, triaged: Triaged) -> None:
        reserve = REPORT_SHARE * self._ctx.run.work_seconds

        async def work(sub: RunContext) -> tuple[None, str]:
            await analyst.analyse(
                sub,
                self._voice,
                self._notebook,
                triaged=triaged,
                tools=self._tools,
                reserve_seconds=reserve,
            )
            return None, "Found what the tools can tell"

        await self._delegate("analyst", "Find the facts", work, None)

    async def _report(self, triaged: Triaged) -> Outcome:
        task = ReportTask(
            question=self._ctx.request.text,
            decision=triaged.decision,
            coverage=triaged.coverage,
            calls=self._notebook.calls,
            guidance=self._guidance(triaged),
            notes=tuple(self._troubles),
        )

        async def work(sub: RunContext) -> tuple[Outcome, str]:
            reporter = Reporter(sub, self._voice, task)
            return await reporter.report(self._save), "Wrote the answer"

        fallback = plain_outcome(self._ctx, task)
        return await self._delegate(REPORTER, "Write the answer", work, fallback)

    def _guidance(self, triaged: Triaged) -> Guidance:
        """Return what to do about the data; ways to export only when they do not suffice."""
        advice = guidance(self._ctx.request.text, triaged.decision, triaged.coverage)
        if triaged.sufficiency is Sufficiency.SUFFICIENT:
            return Guidance(advice.missing, (), ())
        return advice

    async def _delegate(
        self,
        agent: str,
        task: str,
        work: Callable[[RunContext], Awaitable[tuple[T, str]]],
        fallback: T,
    ) -> T:
        """Return what the agent made of it, or the fallback when it failed or hangs."""
        try:
            async with self._ctx.sub(agent, task, seconds=self._seconds(agent)) as sub:
                result, summary = await work(sub)
                await sub.complete(summary)
                return result
        except TidingsError as error:
            code, why = said(error)
            self._troubles.append(f"The {agent.replace('_', ' ')} could not finish its part.")
            await self._ctx.degrade("agent_failed_over", f"The {agent} failed: {why}", cause=code)
            return fallback

    def _seconds(self, agent: str) -> float:
        """Return how long an agent may be silent about its end: the report must be reached."""
        remaining = self._ctx.remaining_seconds()
        if agent == REPORTER:
            return remaining * (1 - FALLBACK_SHARE)
        return max(0.0, remaining - REPORT_SHARE * self._ctx.run.work_seconds)


def _worth_analysing(triaged: Triaged) -> bool:
    enough = {Sufficiency.SUFFICIENT, Sufficiency.PARTIAL}
    return triaged.sufficiency in enough and triaged.decision.family is not Family.OTHER
