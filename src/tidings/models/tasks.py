"""What the analysis asks of a model, as typed values: the built-in planner reads these."""

from enum import StrEnum
from typing import Any

import msgspec

from tidings.domain.facts import ToolResult


class Family(StrEnum):
    """The questions the analysis knows how to answer."""

    CUT_COST = "cut_cost"
    SPEED = "speed"
    GROWTH = "growth"
    FEATURE_COST = "feature_cost"
    COMPARE_MODELS = "compare_models"
    CACHING = "caching"
    TRADE_OFF = "trade_off"
    MOVE_MODELS = "move_models"
    UPGRADE_REVIEW = "upgrade_review"
    SPEND = "spend"
    CHANGES = "changes"
    ANOMALIES = "anomalies"
    OVERVIEW = "overview"
    OTHER = "other"


class FeatureLimit(msgspec.Struct, frozen=True):
    """How much slower a feature may become; 0 ms means it must keep its latency."""

    feature: str
    extra_ms: float


class Constraints(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the user demanded; shares are 0..1: `growth` 0.5 is half more, `cost_cut` 0.2 a fifth.

    `latency_factor` 3 means three times faster. `models` are those the user named; `assume_model`
    is the one the user says the requests ran on, `feature` the one the question is about.
    """

    features: tuple[FeatureLimit, ...] = ()
    growth: float | None = None
    cost_cut: float | None = None
    latency_factor: float | None = None
    models: tuple[str, ...] = ()
    assume_model: str | None = None
    feature: str | None = None


class Decision(msgspec.Struct, frozen=True, omit_defaults=True):
    """What triage decided: which question this is, under which constraints."""

    family: Family
    constraints: Constraints = Constraints()


_FEATURE_LIMIT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "feature": {"type": "string"},
        "extra_ms": {
            "type": "number",
            "description": "How much slower it may become; 0: it must keep its latency.",
        },
    },
    "required": ["feature", "extra_ms"],
}
_CONSTRAINTS: dict[str, Any] = {
    "type": "object",
    "description": "What the user demands; leave out what the user does not say.",
    "properties": {
        "features": {"type": "array", "items": _FEATURE_LIMIT},
        "growth": {"type": "number", "description": "A share: 0.5 is half more."},
        "cost_cut": {"type": "number", "description": "A share: 0.2 is a fifth less."},
        "latency_factor": {"type": "number", "description": "3 is three times faster."},
        "models": {
            "type": "array",
            "items": {"type": "string"},
            "description": "The models that the user names.",
        },
        "assume_model": {
            "type": "string",
            "description": "The model that the user says the requests ran on.",
        },
        "feature": {"type": "string", "description": "The feature that the question is about."},
    },
}
DECISION_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "family": {"type": "string", "enum": [str(family) for family in Family]},
        "constraints": _CONSTRAINTS,
    },
    "required": ["family"],
}
"""A `Decision`, as models are asked for it."""


FILLED_SHARE = 0.05
"""A field that is filled in less of the data counts as missing."""


class Called(msgspec.Struct, frozen=True):
    """A tool call of this run and what came of it: a result, or the message of its error."""

    call_id: str
    tool: str
    arguments: dict[str, Any]
    result: ToolResult | None = None
    error: str = ""


class Missing(msgspec.Struct, frozen=True):
    """A field the data lack, why the question needs it, and what having it would allow."""

    field: str
    why: str
    allows: str


class Guidance(msgspec.Struct, frozen=True):
    """What the user can do about data that do not suffice."""

    missing: tuple[Missing, ...]
    answerable: tuple[str, ...]
    exports: tuple[str, ...]


class TriageTask(msgspec.Struct, frozen=True):
    """Decide what is asked. `coverage` is the filled share of each field, empty without data."""

    question: str
    coverage: dict[str, float]


class AnalysisTask(msgspec.Struct, frozen=True):
    """Choose the next tool calls; none when enough is known."""

    question: str
    decision: Decision
    coverage: dict[str, float]
    calls: tuple[Called, ...]


class ReportTask(msgspec.Struct, frozen=True):
    """Write the answer around facts; `findings` are the quality gate's on the last draft."""

    question: str
    decision: Decision
    coverage: dict[str, float]
    calls: tuple[Called, ...]
    guidance: Guidance
    notes: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
