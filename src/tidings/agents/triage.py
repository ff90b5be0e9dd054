"""Triage: which question is it, under which constraints, and do the data suffice?"""

import msgspec

from tidings.agents import prompts
from tidings.agents.notebook import Notebook
from tidings.agents.questions import QUESTIONS, Sufficiency, missing, sufficiency
from tidings.agents.voice import Voice
from tidings.models.port import Message, ModelRequest
from tidings.models.rules.words import decide
from tidings.models.tasks import DECISION_SCHEMA, Decision, Family, TriageTask
from tidings.runs.context import RunContext
from tidings.runs.rulings import ToolRequest

DECISION_TOKENS_MAX = 1_000


class Triaged(msgspec.Struct, frozen=True):
    """What is asked, which fields the data fill (0..1 each), and whether they suffice."""

    decision: Decision
    coverage: dict[str, float]
    sufficiency: Sufficiency


async def triage(ctx: RunContext, voice: Voice, notebook: Notebook) -> Triaged:
    """Look at the data, then decide."""
    coverage = await _describe(ctx, notebook)
    decision = await _decide(ctx, voice, TriageTask(ctx.request.text, coverage))
    triaged = Triaged(decision, coverage, sufficiency(decision, coverage))
    await ctx.think(_thought(triaged), 0.15)
    return triaged


def by_words(question: str) -> Triaged:
    """Return what can be told without data or model."""
    decision = decide(question)
    return Triaged(decision, {}, sufficiency(decision, {}))


async def _describe(ctx: RunContext, notebook: Notebook) -> dict[str, float]:
    if not ctx.request.files:
        await ctx.think("No file came with the question, so there are no data to look at.", 0.05)
        return {}
    await ctx.think("First I look at which fields your data have, and how well filled.", 0.05)
    looking = ToolRequest("describe_data", {}, "See what the data hold")
    (described,) = await notebook.call(ctx, [looking])
    table = described.result.table if described.result else None
    if table is None:
        return {}
    names = [column.name for column in table.columns]
    rows = (dict(zip(names, row, strict=True)) for row in table.rows)
    return {
        str(row["field"]): float(share)
        for row in rows
        if isinstance(share := row.get("coverage"), int | float) and share > 0
    }


async def _decide(ctx: RunContext, voice: Voice, task: TriageTask) -> Decision:
    """Ask the model for a decision; when it gives none, the planner goes by the words."""
    request = ModelRequest(
        prompts.TRIAGE,
        (Message("user", prompts.triage_opening(task, await ctx.history())),),
        task=task,
        max_output_tokens=DECISION_TOKENS_MAX,
        schema=DECISION_SCHEMA,
    )
    reply = await voice.ask(ctx, request)
    return _said_by_user(msgspec.convert(reply.value, Decision), task.question)


def _said_by_user(decision: Decision, question: str) -> Decision:
    """Drop models that the user did not name: an assumption is the user's to make."""
    text = question.lower()
    told = decision.constraints
    assumed = told.assume_model
    constraints = msgspec.structs.replace(
        told,
        models=tuple(model for model in told.models if model.lower() in text),
        assume_model=assumed if assumed and assumed.lower() in text else None,
    )
    return Decision(decision.family, constraints)


def _thought(triaged: Triaged) -> str:
    decision = triaged.decision
    if decision.family is Family.OTHER:
        return "This is not a question about language-model usage; I say what I can do."
    asked = f"You want me to {QUESTIONS[decision.family].title}."
    lacking = missing(decision, triaged.coverage)
    if triaged.sufficiency is Sufficiency.UNKNOWN:
        return f"{asked} There are no data yet, so I say what I would need."
    if triaged.sufficiency is Sufficiency.SUFFICIENT or not lacking:
        return f"{asked} The data have what that needs."
    first = lacking[0]
    names = ", ".join(f"`{field.field}`" for field in lacking)
    rest = (
        "I answer what can be answered without."
        if triaged.sufficiency is Sufficiency.PARTIAL
        else "That is too little for an answer, so I say how to get it."
    )
    return f"{asked} The data lack {names}: for instance `{first.field}`, and {first.why}. {rest}"
