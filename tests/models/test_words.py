"""The planner's triage: the nine questions and the plain ones, as people word them."""

import time

import pytest

from tidings.models.rules.words import decide
from tidings.models.tasks import Constraints, Family, FeatureLimit


@pytest.mark.parametrize(
    ("question", "family"),
    [
        ("Cut cost, keep quality; feature search tolerates 500 ms more.", Family.CUT_COST),
        ("My tools are too slow: three times lower latency, no more money.", Family.SPEED),
        ("Usage grows 50 % next month: what happens to cost and rate limits?", Family.GROWTH),
        ("This one function is expensive: what would improve it?", Family.FEATURE_COST),
        ("I consider gpt-4o and claude-3-5-haiku: how would they do?", Family.COMPARE_MODELS),
        ("Audit my use of prompt caching (KV caching).", Family.CACHING),
        ("-20 % cost and 2x latency and +30 % usage, all at once", Family.TRADE_OFF),
        ("Which of my tools should move to another model?", Family.MOVE_MODELS),
        ("Was yesterday's upgrade worth it? Where not, roll back.", Family.UPGRADE_REVIEW),
        ("Where does the money go?", Family.SPEND),
        ("What changed?", Family.CHANGES),
        ("What is odd?", Family.ANOMALIES),
        ("What can I do this week?", Family.OVERVIEW),
        ("These ran on gpt-4o", Family.SPEND),
        ("Hello", Family.OTHER),
        ("Write a poem about money", Family.OTHER),
    ],
)
def test_a_question_is_recognised_by_its_words(question: str, family: Family) -> None:
    assert decide(question).family is family


@pytest.mark.parametrize(
    ("question", "told"),
    [
        (
            "feature search tolerates 500 ms more, feature chat must keep its latency",
            Constraints(features=(FeatureLimit("search", 500.0), FeatureLimit("chat", 0.0))),
        ),
        (
            "feature search tolerates 1.5 seconds more",
            Constraints(features=(FeatureLimit("search", 1500.0),)),
        ),
        ("Usage grows 50 % next month", Constraints(growth=0.5)),
        ("three times lower latency", Constraints(latency_factor=3.0)),
        ("make it 2x faster", Constraints(latency_factor=2.0)),
        ("cut my spend by 20%", Constraints(cost_cut=0.2)),
        ("-20 % cost", Constraints(cost_cut=0.2)),
        ("gpt-4o or o3-mini?", Constraints(models=("gpt-4o", "o3-mini"))),
        ("is the feature summarize dear?", Constraints(feature="summarize")),
        ("is this feature expensive?", Constraints()),
        *(
            (text, Constraints(models=("gpt-4o",), assume_model="gpt-4o"))
            for text in (
                "these ran on gpt-4o",
                "all requests were run on GPT-4o.",
                "the model is gpt-4o",
                "assume they all used gpt-4o",
            )
        ),
    ],
)
def test_constraints_are_read_as_typed_values(question: str, told: Constraints) -> None:
    assert decide(question).constraints == told


@pytest.mark.parametrize(
    "piece", ["x", "a-", "move ", "cut a ", "feature ", "1 ", "- 1", "grow ", "llama", "assume a "]
)
def test_a_huge_and_hostile_question_is_read_at_once(piece: str) -> None:
    """It is read on the event loop: whoever writes it must not hold up everybody else."""
    begun = time.process_time()
    decide((piece * 20_000)[:20_000])
    assert time.process_time() - begun < 0.2


def test_a_question_may_stand_before_or_after_what_is_pasted() -> None:
    pasted = "lorem ipsum " * 1_000
    for question in (f"Cut cost. {pasted}", f"{pasted} Cut cost."):
        assert decide(question).family is Family.CUT_COST


def test_words_that_show_nothing_are_about_the_data_if_there_are_any() -> None:
    assert decide("What is our biggest minute?").family is Family.OTHER
    assert decide("What is our biggest minute?", has_data=True).family is Family.OVERVIEW
    assert decide("Write a poem.", has_data=True).family is Family.OTHER
