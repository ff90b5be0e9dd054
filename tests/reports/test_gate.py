"""The gate passes true, complete answers, and says what is wrong with the others."""

import msgspec
import pytest

from tests.reports.samples import BRIEF, DRAFT, FACTS, QUESTION, RESULTS, fact
from tidings.domain.facts import Column, Fact, Table, ToolResult, Unit, all_facts
from tidings.reports.gate import Quality, judge

GUIDANCE = """## What is missing

Your log has no `model` column, so nothing in it can be priced. Add the model of each request.

## What the tokens can already say

- Which hours are busy, and how long prompts are in each `feature`.
- Where the same prompt is sent again, when `prompt_hash` is there.

## Next actions

- Export the log again with `model` and `feature` from your gateway.
- Or say which model these requests ran on, and the cost follows from the price list.
"""


def verdict(text: str, asked: tuple[str, ...] = BRIEF.asked) -> Quality:
    return judge(text, QUESTION, FACTS, RESULTS, asked)


def test_a_grounded_concrete_answer_passes() -> None:
    quality = verdict(DRAFT)

    assert quality.passed
    assert quality.findings == ()
    assert set(quality.dimensions.values()) == {1.0}


def test_one_invented_figure_fails_whatever_the_score() -> None:
    quality = verdict(DRAFT + "\nThat is 31 % less.\n")

    assert not quality.passed
    assert quality.score >= 0.7
    assert '"31 %"' in quality.findings[0]


@pytest.mark.parametrize("text", ["{{fact:c9.total}}", "{{fact:c2.none}}", "{{fact c2.total_usd}}"])
def test_a_placeholder_without_a_value_fails(text: str) -> None:
    facts = FACTS | {"c2.none": fact("c2.none", None)}

    assert not judge(DRAFT + text, QUESTION, facts, RESULTS, BRIEF.asked).passed


def test_a_figure_smuggled_into_a_chart_title_fails() -> None:
    chart = {**(RESULTS["c4"].chart or {}), "title": "You save 90 %"}
    results = RESULTS | {"c4": msgspec.structs.replace(RESULTS["c4"], chart=chart)}

    assert not judge(DRAFT, QUESTION, FACTS, results, BRIEF.asked).passed


def test_a_figure_smuggled_into_a_calculated_label_fails() -> None:
    made = Fact("c5.value", 1.0, Unit.USD, "90 % saved", "calculate", "c5", "1", 1)

    quality = judge(DRAFT + "{{fact:c5.value}}", QUESTION, FACTS | {"c5.value": made}, RESULTS, ())

    assert not quality.passed


def test_a_figure_smuggled_into_a_queried_column_fails() -> None:
    column = Column("saved", Unit.USD, "90 % saved")
    result = ToolResult(summary="", table=Table((column,), ((1.0,),)))
    made = {f.id: f for f in all_facts("query", "c5", result)}

    text = DRAFT + "{{table:c5}}"
    quality = judge(text, QUESTION, FACTS | made, RESULTS | {"c5": result}, ())

    assert not quality.passed


def test_what_was_asked_and_not_answered_is_named() -> None:
    quality = verdict(DRAFT, asked=(*BRIEF.asked, "rate limits next month"))

    assert quality.dimensions["coverage"] == 0.75
    assert any("rate limits next month" in finding for finding in quality.findings)


def test_an_analysis_that_places_no_fact_fails_and_guidance_passes() -> None:
    as_analysis = judge(GUIDANCE, "Where is my money?", {}, {}, ("missing model column",))
    as_guidance = judge(
        GUIDANCE, "Where is my money?", {}, {}, ("missing model column",), kind="guidance"
    )

    assert not as_analysis.passed
    assert as_guidance.passed, as_guidance


@pytest.mark.parametrize("text", ["", "Everything is fine.", "word " * 2000])
def test_empty_and_idle_talk_fails(text: str) -> None:
    assert not judge(text, "What?", {}, {}, ("where the money goes",), kind="guidance").passed


def test_facts_that_contradict_each_other_are_named() -> None:
    facts = (fact("c3.current_usd", 10.0), fact("c3.saving_usd", 763.75))
    results = RESULTS | {"c3": msgspec.structs.replace(RESULTS["c3"], facts=facts)}

    quality = judge(DRAFT, QUESTION, FACTS, results, BRIEF.asked)

    assert quality.dimensions["consistency"] < 1
    assert any("c3.saving_usd exceeds c3.current_usd" in f for f in quality.findings)


def test_parts_beyond_their_total_are_named() -> None:
    small = tuple(fact(f.id, 5, f.unit) for f in RESULTS["c2"].facts)
    results = RESULTS | {"c2": msgspec.structs.replace(RESULTS["c2"], facts=small)}

    findings = judge(DRAFT, QUESTION, FACTS, results, BRIEF.asked).findings

    assert any("c2.cost_usd exceed their total c2.total_usd" in f for f in findings)


def test_the_same_draft_gets_the_same_verdict() -> None:
    assert verdict(DRAFT) == verdict(DRAFT)
