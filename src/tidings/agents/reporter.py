"""The reporter: an answer around facts, through the quality gate, kept as a report."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from tidings.agents import prompts
from tidings.agents.questions import asked
from tidings.agents.voice import Voice
from tidings.domain.context import UserContext
from tidings.domain.errors import TidingsError
from tidings.domain.runs import Outcome
from tidings.models.planner import PLANNER
from tidings.models.port import Message, ModelRequest
from tidings.models.rules.writing import write
from tidings.models.tasks import Family, ReportTask
from tidings.reports.gate import Kind, Quality, judge
from tidings.reports.render import DraftStream, render
from tidings.reports.report import Brief, Report, compose
from tidings.runs.context import RunContext

ANSWER_TOKENS_MAX = 6_000

Save = Callable[[UserContext, Report], Awaitable[None]]
"""Keeps a report; saving the same `report_id` again changes nothing."""


@dataclass(frozen=True, slots=True)
class JudgedText:
    """A text with placeholders, who wrote it, and what the gate says of it."""

    text: str
    model: str
    quality: Quality


class Screen:
    """The answer as it appears: each draft is a message of its own, the newest counts."""

    def __init__(self, ctx: RunContext, question: str) -> None:
        self._ctx = ctx
        self._question = question
        self._messages = 0
        self.clear()

    @property
    def message_id(self) -> str:
        return f"answer-{self._messages}"

    def clear(self) -> None:
        """Begin a new message."""
        self._messages += 1
        self._stream = DraftStream(self._question, self._ctx.facts, self._ctx.results)

    async def show(self, piece: str) -> None:
        """Show what is fit to be shown of the text so far."""
        await self._delta(self._stream.feed(piece))

    async def close(self) -> None:
        """Show the rest."""
        await self._delta(self._stream.close())

    async def _delta(self, text: str) -> None:
        if text:
            await self._ctx.delta(self.message_id, text)


class Reporter:
    """Writes one run's answer."""

    def __init__(self, ctx: RunContext, voice: Voice, task: ReportTask) -> None:
        self._ctx = ctx
        self._voice = voice
        self._task = task
        self._screen = Screen(ctx, task.question)

    async def report(self, save: Save) -> Outcome:
        """Write, have it judged, revise once, and keep the report."""
        await self._ctx.think("I write the answer around the facts that were found.", 0.75)
        draft = await self._accepted()
        if not draft.quality.passed:
            why = "The answer did not pass every check; its report says which."
            await self._ctx.degrade("answer_flawed", why)
        report = self._composed(draft)
        await self._ctx.think("The answer stands; I keep it as a report with all its facts.", 0.95)
        report_id = await self._kept(report, save)
        return Outcome(
            answer=f"{render(draft.text, self._ctx.facts, self._ctx.results).text.rstrip()}\n\n"
            f"{signature(draft.model)}\n",
            report_id=report_id,
            quality=msgspec.to_builtins(draft.quality),
        )

    async def _accepted(self) -> JudgedText:
        """Return a draft that passed the gate, or the template that had to take its place."""
        draft = await self._draft(self._task)
        if draft.quality.passed or draft.model == PLANNER:
            return draft
        again = "The draft did not pass the check; I write it again."
        await self._revise(self._ctx.notice, again, draft)
        task = msgspec.structs.replace(self._task, findings=draft.quality.findings)
        draft = await self._draft(task)
        if draft.quality.passed or draft.model == PLANNER:
            return draft
        plain = "No draft passed the check; you get the plain answer instead."
        await self._revise(self._ctx.degrade, plain, draft)
        self._voice.silence()
        return await self._draft(self._task)

    async def _revise(
        self, tell: Callable[..., Awaitable[None]], why: str, draft: JudgedText
    ) -> None:
        self._screen.clear()
        await self._ctx.think(why, 0.85)
        await tell(
            "answer_revised",
            why,
            findings=list(draft.quality.findings),
            message_id=self._screen.message_id,
        )

    async def _draft(self, task: ReportTask) -> JudgedText:
        text, model = await self._written(task)
        await self._screen.close()
        quality = judge(
            text,
            task.question,
            self._ctx.facts,
            self._ctx.results,
            asked(task.decision),
            _kind(task),
        )
        return JudgedText(text, model, quality)

    async def _written(self, task: ReportTask) -> tuple[str, str]:
        """Return a text and its writer; when the model fails, the template's."""
        opening = Message("user", prompts.reporter_opening(task, await self._ctx.history()))
        request = ModelRequest(
            prompts.REPORTER, (opening,), task=task, max_output_tokens=ANSWER_TOKENS_MAX
        )
        if self._voice.trusted:
            try:
                reply = await self._ctx.model(request, on_text=self._screen.show)
            except (TidingsError, TimeoutError) as error:
                await self._voice.lost(self._ctx, error)
                self._screen.clear()
            else:
                return reply.text, reply.model
        reply = await self._voice.planner.respond(request, self._screen.show)
        return reply.text, reply.model

    def _composed(self, draft: JudgedText) -> Report:
        """Return the report; its id and time follow from the run, so that a repeat is the same."""
        run, task = self._ctx.run, self._task
        brief = Brief(
            report_id=f"rp_{run.run_id.partition('_')[2] or run.run_id}",
            run_id=run.run_id,
            created_at=run.created_at,
            question=task.question,
            template=draft.text,
            model=draft.model,
            asked=asked(task.decision),
            kind=_kind(task),
            status="degraded" if self._ctx.reasons else "completed",
        )
        return compose(brief, self._ctx.facts, self._ctx.results)

    async def _kept(self, report: Report, save: Save) -> str | None:
        """Save the report once; without one the answer still stands."""

        async def keep() -> str:
            await save(self._ctx.user, report)
            return report.report_id

        try:
            return await self._ctx.step("report", keep, str)
        except TidingsError as error:
            await self._ctx.degrade(
                "report_not_saved",
                f"The report could not be kept: {error.message}",
                cause=error.code,
            )
            return None


def plain_outcome(ctx: RunContext, task: ReportTask) -> Outcome:
    """Return the template's answer, when even the reporter could not finish."""
    text = render(write(task), ctx.facts, ctx.results).text.rstrip()
    return Outcome(f"{text}\n\n{signature(PLANNER)}\n")


def signature(model: str) -> str:
    """Return the line that says who wrote an answer."""
    if model == PLANNER:
        return "*Written from templates by the built-in planner; no language model was asked.*"
    return f"*Written by {model}; every figure comes from a tool.*"


def _kind(task: ReportTask) -> Kind:
    """Return what the text can be: without results of an analysis it is guidance."""
    analysed = any(call.tool != "describe_data" and call.result for call in task.calls)
    return "analysis" if analysed and task.decision.family is not Family.OTHER else "guidance"
