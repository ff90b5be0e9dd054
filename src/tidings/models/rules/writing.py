"""The answer, written around facts: the planner's templates."""

from collections.abc import Iterator

from tidings.models.rules import calls
from tidings.models.rules.case import Case
from tidings.models.rules.findings import SHOWN_MAX, Finding, findings
from tidings.models.tasks import Family, ReportTask

ACTIONS_MAX = 5

CAPABILITIES = """\
I analyse logs of language-model usage, and this does not look like a question about one, so I \
have no good answer to it.

## What I can do

- Say where the money goes: by feature, model, user or day.
- Find what to cut: dear models for easy work, prompts paid for again, the price of failed calls.
- Show who waits how long, and which model answers faster.
- Price your workload on another model, and plan for growth.

## What to do next

- Upload a usage log: CSV, JSONL or Parquet, a line for each request.
- Ask, for example: "Where does the money go, and what can I cut this week?"
"""

NO_DATA = (
    "**There are no usage data to look at yet, so I cannot say anything about your own "
    "workload.** Upload a log with a line for each request (CSV, JSONL or Parquet), and ask "
    "again: below is what this question needs, and where to get it."
)


def write(task: ReportTask) -> str:
    """Return the answer as Markdown around placeholders; it holds no figure of its own."""
    case = Case.of(task)
    if case.family is Family.OTHER:
        return CAPABILITIES
    found = findings(case)
    sections = (
        next(text for text in _headlines(case) if case.evidence.holds(text)),
        _section("Where it goes", [line for line in _shares(case) if case.evidence.holds(line)]),
        _section("What I found", [f"{finding.text}\n" for finding in found]),
        _section("What to do this week", _actions(task, case, found)),
        _section(
            "What these data cannot tell" if case.coverage else "What this question needs",
            _limits(task, case),
        ),
        _section("What they can answer already", _answerable(task)),
        _section("How to get the missing fields", task.guidance.exports),
        _evidence(case),
    )
    return "\n\n".join(section for section in sections if section) + "\n"


def _section(title: str, lines: list[str] | tuple[str, ...]) -> str:
    if not lines:
        return ""
    return "\n".join((f"## {title}\n", *(f"- {line}" for line in lines))).rstrip()


def _headlines(case: Case) -> Iterator[str]:
    """Yield what the answer may begin with, the best first; the last can always be said."""
    if not case.coverage:
        yield NO_DATA
    if case.family is Family.SPEED and case.slowest():
        yield _slow(case)
    if case.priced:
        yield _spent(case)
    if case.data:
        yield _volumes(case)
    yield "**The data do not hold enough to answer this.**"


def _spent(case: Case) -> str:
    spend, rows = case.spend, case.spending_rows()
    if spend is None:
        return ""
    text = (
        f"**{spend.ref('total_usd')} went into {spend.ref('priced_requests')} requests{_span(case)}"
    )
    named = [dimension for dimension in case.dimensions if rows and rows[0].named(dimension)]
    if len(rows) > 1 and named:
        text += f"; {_who(case, named)} took {rows[0].ref('share')} of it"
    text += ".**"
    saving, month = case.total(calls.SAVING), case.total(calls.MONTHLY_SAVING)
    if saving and saving.amount("value") > 0:
        text += f" {saving.ref('value')} of it can be saved while the measured quality holds"
        text += f": {month.ref('value')} in a month at this pace." if month else "."
    return f"{text}{_pace(case)}{_assumption(case)}"


def _who(case: Case, named: list[str]) -> str:
    row = case.spending_rows()[0]
    return " on ".join(row.ref(dimension) for dimension in named)


def _pace(case: Case) -> str:
    month, day = case.total(calls.MONTHLY_SPEND), case.total(calls.DAILY_SPEND)
    if month:
        return f" At this pace a month costs {month.ref('value')}."
    if day:
        return f" Were every hour like these, a day would cost {day.ref('value')}."
    return ""


def _assumption(case: Case) -> str:
    model = case.constraints.assume_model
    if not model:
        return ""
    if case.has("model"):
        return f" Only requests that name no model are priced as {model}."
    return (
        f" The data name no model; you said it was {model}, so this is the list price of that "
        "model for these tokens, and not an invoice: discounts, caching and batches are not in it."
    )


def _slow(case: Case) -> str:
    row, waits = case.slowest(), case.evidence.one("latency_by")
    if row is None or waits is None:
        return ""
    by = waits.call.arguments.get("dimension")
    who = f"{row.ref(by)} lets your users wait longest" if by else "This is how long users wait"
    return f"**{who}: {row.ref('p50_ms')} at the median, {row.ref('p95_ms')} at p95.**"


def _volumes(case: Case) -> str:
    data = case.data
    if data is None:
        return ""
    text = f"**Your data hold {data.ref('requests')} requests{_span(case)}"
    if case.has_tokens:
        text += (
            f", with {data.ref('input_tokens')} input and {data.ref('output_tokens')} output tokens"
        )
    text += ".**"
    if case.family is Family.SPEED:
        text += " Nothing in them says how long a request took: I can show volumes, and no waits."
    elif not case.can_price and case.evidence.one("reprice"):
        text += " They name no model, so the prices below are those of the models you named."
    elif not case.can_price:
        text += (
            " Nothing in them says what a request cost or which model served it, so I can show "
            "volumes, and no money."
        )
    elif case.spend is not None:
        text += " None of their models has a price in the price list, so I can show no money."
    return text


def _span(case: Case) -> str:
    data = case.data
    if data is None or not (data.has("first_ts") and data.has("last_ts")):
        return ""
    return f" between {data.ref('first_ts')} and {data.ref('last_ts')}"


def _shares(case: Case) -> list[str]:
    lines = []
    if case.family in _NOT_OF_MONEY or not (case.group or case.has("model")):
        return []
    for row in case.spending_rows()[:SHOWN_MAX]:
        named = [dimension for dimension in case.dimensions if row.named(dimension)]
        who = " on ".join(row.ref(dimension) for dimension in named)
        if named and case.priced:
            lines.append(
                f"**{who}**: {row.ref('cost_usd')}, {row.ref('share')} of the spend, for "
                f"{row.ref('requests')} requests at {row.ref('cost_per_request_usd')} each."
            )
        elif named:
            lines.append(
                f"**{who}**: {row.ref('input_tokens')} input and {row.ref('output_tokens')} output "
                f"tokens in {row.ref('requests')} requests."
            )
    return lines


def _actions(task: ReportTask, case: Case, found: list[Finding]) -> list[str]:
    actions = [finding.action for finding in found if finding.action][:ACTIONS_MAX]
    if not case.coverage:
        return ["Export or log a line for each request with the fields below, and upload it here."]
    if task.guidance.missing and len(actions) < ACTIONS_MAX:
        missing = task.guidance.missing[:SHOWN_MAX]
        names = ", ".join(f"`{field.field}`" for field in missing)
        actions.append(f"Log {names} with each request, and ask again.")
    if case.family in _COSTS and not case.can_price:
        actions.append(
            "If a single model served them all, say which (“these ran on …”), and I price them by "
            "its list price."
        )
    if case.constraints.assume_model and not case.evidence.one("reprice"):
        actions.append(
            "Name a cheaper model that you would consider, and I price these same requests on it."
        )
    actions = actions or ["Change nothing this week: no waste was found that is worth the work."]
    if len(actions) == 1:
        actions.append("Ask again with a newer log in a week: a change shows against what was.")
    return actions


def _limits(task: ReportTask, case: Case) -> list[str]:
    lines = [
        f"`{field.field}`: {field.why}. With it: {field.allows}." for field in task.guidance.missing
    ]
    spend = case.spend
    if spend is not None and case.priced and spend.amount("unpriced_requests"):
        lines.append(
            f"{spend.ref('unpriced_requests')} requests have no known price; they are in no sum."
        )
    if unknown := ", ".join(f"`{name}`" for name in case.unknown_features()):
        lines.append(f"No request here says that it belongs to {unknown}: nothing is said of it.")
    if case.family is Family.UPGRADE_REVIEW:
        lines.append("Whether a difference before and after is more than chance is not tested yet.")
    return [*lines, *task.notes]


def _answerable(task: ReportTask) -> list[str]:
    if not task.guidance.exports or not task.coverage:
        return []
    return [f"{what[:1].upper()}{what[1:]}." for what in task.guidance.answerable]


def _evidence(case: Case) -> str:
    return "\n\n".join(("## Evidence", *shown)) if (shown := list(_shown(case))) else ""


def _shown(case: Case) -> Iterator[str]:
    for found in case.evidence.all("chart"):
        yield f"{{{{chart:{found.id}}}}}"
    tables = [case.spend, case.duplicates, case.failures]
    if case.family in {Family.SPEED, Family.COMPARE_MODELS, Family.MOVE_MODELS}:
        tables = [*case.evidence.all("latency_by"), case.spend]
    if not any(tables):
        tables = [case.evidence.one("token_distribution"), case.data]
    for table in tables:
        if table is not None and table.rows:
            yield f"{{{{table:{table.id}}}}}"


_NOT_OF_MONEY = frozenset({Family.SPEED, Family.CACHING, Family.ANOMALIES})
_COSTS = frozenset(
    {Family.CUT_COST, Family.SPEND, Family.FEATURE_COST, Family.GROWTH, Family.OVERVIEW}
)
