"""The questions the analysis answers, the fields each needs, and whether the data suffice."""

from collections.abc import Iterator, Mapping
from enum import StrEnum

import msgspec

from tidings.models.tasks import (
    FILLED_SHARE,
    Constraints,
    Decision,
    Family,
    Guidance,
    Missing,
)

SUFFICIENT_COVERAGE = 0.8
PARTIAL_COVERAGE = 0.4


class Sufficiency(StrEnum):
    """Whether the data can answer the question; `unknown` when there are none."""

    SUFFICIENT = "sufficient"
    PARTIAL = "partial"
    INSUFFICIENT = "insufficient"
    UNKNOWN = "unknown"


class Need(msgspec.Struct, frozen=True):
    """A need that any of `fields` meets; the first is the one to ask for.

    A `sparse` one is met by any value at all: few requests fail, and few are scored.
    """

    fields: tuple[str, ...]
    why: str
    allows: str
    sparse: bool = False


class Question(msgspec.Struct, frozen=True):
    """A family of questions: what it asks, and what it needs."""

    title: str
    needs: tuple[Need, ...]


TS = Need(("ts",), "it places each request in time", "rates, peaks and trends")
MODEL = Need(
    ("model", "cost_reported"),
    "the price of a request follows from its model",
    "the cost of every request, and what another model would cost",
)
INPUT = Need(
    ("input_tokens", "cost_reported"), "it is a part of what is paid for", "cost and volume"
)
OUTPUT = Need(
    ("output_tokens", "cost_reported"),
    "it is the dearer part of what is paid for",
    "cost and speed",
)
FEATURE = Need(
    ("feature", "tool", "operation"),
    "it says what a request was for",
    "the spend of each part of your product, and advice for each",
)
LATENCY = Need(
    ("latency_ms",), "it is what your users wait for", "percentiles by feature and by model"
)
STATUS = Need(
    ("status", "error_code"),
    "it tells failed calls from good ones",
    "what failed calls cost",
    sparse=True,
)
QUALITY = Need(
    ("quality_score",),
    "a cheaper model is only a saving if its answers are as good",
    "saying which requests may move to another model, and which must not",
    sparse=True,
)
PROMPT = Need(
    ("prompt_hash",), "it shows the same prompt paid for again", "finding exact duplicates"
)
CACHED = Need(("cached_input_tokens",), "it is what the cache already saves", "today's hit rate")
PREFIX = Need(
    ("prefix_hash", "prompt_hash"),
    "it shows which beginnings prompts share",
    "the hit rate within reach",
)

_COST = (TS, MODEL, INPUT, OUTPUT)

QUESTIONS: Mapping[Family, Question] = {
    Family.CUT_COST: Question("cut the cost and keep the quality", (*_COST, FEATURE)),
    Family.SPEED: Question("make it faster", (TS, MODEL, OUTPUT, FEATURE, LATENCY)),
    Family.GROWTH: Question("plan for growth", _COST),
    Family.FEATURE_COST: Question("make one feature cheaper", (*_COST, FEATURE)),
    Family.COMPARE_MODELS: Question(
        "compare models on this workload", (MODEL, INPUT, OUTPUT, LATENCY, QUALITY)
    ),
    Family.CACHING: Question("audit prompt caching", (MODEL, INPUT, CACHED, PREFIX)),
    Family.TRADE_OFF: Question(
        "weigh cost, latency and growth", (*_COST, FEATURE, LATENCY, QUALITY)
    ),
    Family.MOVE_MODELS: Question(
        "choose a model for each feature", (MODEL, INPUT, OUTPUT, FEATURE, QUALITY)
    ),
    Family.UPGRADE_REVIEW: Question("review an upgrade", (TS, MODEL, LATENCY, QUALITY, STATUS)),
    Family.SPEND: Question("show where the money goes", (*_COST, FEATURE)),
    Family.CHANGES: Question("show what changed", _COST),
    Family.ANOMALIES: Question("find what is odd", (TS, INPUT, OUTPUT, STATUS)),
    Family.OVERVIEW: Question("give an overview", (*_COST, FEATURE)),
    Family.OTHER: Question("say what I can do", ()),
}

EXPORTS: Mapping[str, str] = {
    "OpenAI": "log `model`, `usage` and your own feature name where you call the API: the usage "
    "export of the dashboard is summed up and has no single requests.",
    "Anthropic": "log `model` and `usage` of each response; the usage export of the "
    "console is summed up by day and key.",
    "LiteLLM": "export the table `LiteLLM_SpendLogs`: it has model, tokens, spend, start and end "
    "time, and your tags for each request.",
    "Langfuse": "export the observations as CSV or JSONL: model, usage, latency, trace name and "
    "scores come with them.",
    "your own gateway": "write a line of JSON for each request with `ts`, `model`, "
    "`input_tokens`, `output_tokens`, `latency_ms`, `status` and `feature`.",
}


def coverage(decision: Decision, filled: Mapping[str, float]) -> float:
    """Return the mean share of the question's needed fields that is present and filled."""
    needs = QUESTIONS[decision.family].needs
    if not needs:
        return 1.0
    return sum(_met(need, filled, decision.constraints) for need in needs) / len(needs)


def sufficiency(decision: Decision, filled: Mapping[str, float]) -> Sufficiency:
    """Return whether data with these filled shares can answer the question."""
    if decision.family is Family.OTHER:
        return Sufficiency.SUFFICIENT
    if not filled:
        return Sufficiency.UNKNOWN
    share = coverage(decision, filled)
    if share >= SUFFICIENT_COVERAGE:
        return Sufficiency.SUFFICIENT
    return Sufficiency.PARTIAL if share >= PARTIAL_COVERAGE else Sufficiency.INSUFFICIENT


def asked(decision: Decision) -> tuple[str, ...]:
    """Return what an answer must speak of: the question's subject, and the names in it."""
    told = decision.constraints
    names = (*(limit.feature for limit in told.features), *told.models, told.feature or "")
    return tuple(item for item in (_SUBJECTS.get(decision.family, ""), *names) if item)


def guidance(question: str, decision: Decision, filled: Mapping[str, float]) -> Guidance:
    """Return what is missing, what can be answered without it, and how to export it."""
    return Guidance(
        missing=missing(decision, filled),
        answerable=tuple(_answerable(decision, filled)),
        exports=_exports(question),
    )


def missing(decision: Decision, filled: Mapping[str, float]) -> tuple[Missing, ...]:
    """Return the fields the question needs and the data lack, the most needed first."""
    useful = (QUALITY, LATENCY, PROMPT, STATUS) if decision.family in _ADVISING else ()
    needs = dict.fromkeys((*QUESTIONS[decision.family].needs, *useful))
    return tuple(
        Missing(need.fields[0], need.why, need.allows)
        for need in needs
        if _met(need, filled, decision.constraints) < FILLED_SHARE
    )


def _met(need: Need, filled: Mapping[str, float], constraints: Constraints) -> float:
    if constraints.assume_model and "model" in need.fields:
        return 1.0
    best = max(filled.get(field, 0.0) for field in need.fields)
    return 1.0 if need.sparse and best > 0 else best


def _answerable(decision: Decision, filled: Mapping[str, float]) -> Iterator[str]:
    for family, question in QUESTIONS.items():
        other = Decision(family, decision.constraints)
        if question.needs and filled and coverage(other, filled) >= SUFFICIENT_COVERAGE:
            yield question.title
    if "input_tokens" in filled and "ts" in filled:
        yield "show volumes, rates and peaks"


def _exports(question: str) -> tuple[str, ...]:
    """Return the ways out of each source; only those the user named, when any is."""
    named = [name for name in EXPORTS if name.lower() in question.lower()]
    return tuple(f"{name}: {EXPORTS[name]}" for name in named or EXPORTS)


_SUBJECTS: Mapping[Family, str] = {
    Family.CUT_COST: "cost",
    Family.SPEED: "latency",
    Family.GROWTH: "growth",
    Family.FEATURE_COST: "cost",
    Family.COMPARE_MODELS: "model",
    Family.CACHING: "cache",
    Family.TRADE_OFF: "cost",
    Family.MOVE_MODELS: "model",
    Family.SPEND: "cost",
}
_ADVISING = frozenset({Family.CUT_COST, Family.SPEND, Family.FEATURE_COST, Family.OVERVIEW})
