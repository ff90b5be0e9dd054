"""Sufficiency follows from the data, not from the words."""

import pytest

from tidings.agents.questions import QUESTIONS, Sufficiency, coverage, guidance, sufficiency
from tidings.models.tasks import Constraints, Decision, Family

TRACE = {"ts": 1.0, "input_tokens": 1.0, "output_tokens": 1.0}
FULL = TRACE | {"model": 1.0, "feature": 1.0}


def spend(assume_model: str | None = None) -> Decision:
    return Decision(Family.SPEND, Constraints(assume_model=assume_model))


@pytest.mark.parametrize(
    ("filled", "expected"),
    [
        ({}, Sufficiency.UNKNOWN),
        ({"ts": 1.0}, Sufficiency.INSUFFICIENT),
        (TRACE, Sufficiency.PARTIAL),
        (TRACE | {"model": 1.0}, Sufficiency.SUFFICIENT),
        (FULL, Sufficiency.SUFFICIENT),
        (FULL | {"model": 0.1, "feature": 0.1}, Sufficiency.PARTIAL),
    ],
)
def test_sufficiency_is_the_mean_share_of_needed_fields(
    filled: dict[str, float], expected: Sufficiency
) -> None:
    assert sufficiency(spend(), filled) is expected


def test_a_model_named_by_the_user_stands_for_the_field() -> None:
    assert sufficiency(spend(assume_model="gpt-4o"), TRACE) is Sufficiency.SUFFICIENT
    missing = guidance("", spend(assume_model="gpt-4o"), TRACE).missing
    assert "model" not in [field.field for field in missing]


def test_a_few_scores_are_scores() -> None:
    assert "quality_score" in [f.field for f in guidance("", spend(), FULL).missing]
    scored = guidance("", spend(), FULL | {"quality_score": 0.01}).missing
    assert "quality_score" not in [field.field for field in scored]


def test_a_reported_cost_stands_for_model_and_tokens() -> None:
    filled = {"ts": 1.0, "cost_reported": 1.0, "feature": 1.0}
    assert coverage(spend(), filled) == 1.0


def test_guidance_names_what_is_missing_why_and_what_it_allows() -> None:
    model = guidance("", spend(), TRACE).missing[0]
    assert model.field == "model"
    assert "price" in model.why
    assert "cost" in model.allows


def test_exports_are_those_of_the_source_the_user_named() -> None:
    assert len(guidance("Where does it go?", spend(), TRACE).exports) > 3
    (only,) = guidance("We log with LiteLLM", spend(), TRACE).exports
    assert only.startswith("LiteLLM: ")


def test_every_family_but_the_last_needs_something() -> None:
    for family in Family:
        assert bool(QUESTIONS[family].needs) == (family is not Family.OTHER)
