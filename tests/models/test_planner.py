"""The built-in planner as a model: what it says, and that it says the same again."""

import asyncio

import pytest

from tests.fakes.toolbox import PLANTED, result
from tidings.domain.errors import Failure
from tidings.domain.facts import Value
from tidings.domain.shapes import misfit
from tidings.models.planner import PLANNER, Planner
from tidings.models.port import ModelReply, ModelRequest
from tidings.models.rules.evidence import Evidence
from tidings.models.rules.savings import Verdict, moves
from tidings.models.tasks import (
    DECISION_SCHEMA,
    AnalysisTask,
    Called,
    Decision,
    Family,
    Guidance,
    ReportTask,
    TriageTask,
)


def respond(task: object) -> tuple[ModelReply, list[str]]:
    pieces: list[str] = []

    async def on_text(piece: str) -> None:
        pieces.append(piece)

    return asyncio.run(Planner().respond(ModelRequest("", (), task=task), on_text)), pieces


def called(call_id: str, tool: str, **arguments: object) -> Called:
    return Called(call_id, tool, arguments, PLANTED[tool](call_id, arguments))


COVERAGE = {"ts": 1.0, "model": 1.0, "feature": 1.0, "input_tokens": 1.0, "output_tokens": 1.0}


def test_it_is_labelled_as_what_it_is() -> None:
    reply, _ = respond(TriageTask("Where does the money go?", {}))
    assert reply.model == PLANNER == Planner().name


def test_its_triage_is_the_value_that_any_model_must_give() -> None:
    reply, _ = respond(TriageTask("Where does the money go? These ran on gpt-4o.", {}))
    assert reply.value["family"] == "spend"
    assert reply.value["constraints"]["assume_model"] == "gpt-4o"
    assert misfit(DECISION_SCHEMA, reply.value) == ""


def test_its_answer_arrives_sentence_by_sentence() -> None:
    task = ReportTask("Hello", Decision(Family.OTHER), {}, (), Guidance((), (), ()))
    reply, pieces = respond(task)
    assert len(pieces) > 5
    assert "".join(pieces) == reply.text


def test_a_task_it_does_not_know_is_refused() -> None:
    with pytest.raises(Failure) as failed:
        respond(None)
    assert failed.value.code == "model_task_unknown"


def test_it_looks_before_it_digs_and_digs_before_it_sums_up() -> None:
    calls = (called("c1", "describe_data"),)
    decision = Decision(Family.SPEND)
    first, _ = respond(AnalysisTask("", decision, COVERAGE, calls))
    assert [call.name for call in first.calls] == [
        "spend_by",
        "spend_over_time",
        "token_distribution",
    ]
    made = [
        called(f"c{n}", call.name, **{k: v for k, v in call.arguments.items() if k != "purpose"})
        for n, call in enumerate(first.calls, 2)
    ]
    second, _ = respond(AnalysisTask("", decision, COVERAGE, (*calls, *made)))
    assert {call.name for call in second.calls} == {"reprice"}


def test_it_calls_no_tool_whose_fields_are_missing() -> None:
    calls = (called("c1", "describe_data"),)
    reply, _ = respond(AnalysisTask("", Decision(Family.SPEND), {"ts": 1.0}, calls))
    assert [call.name for call in reply.calls] == ["spend_over_time"]


@pytest.mark.parametrize(
    ("target", "error", "samples", "verdict"),
    [
        (0.90, 0.005, 500, Verdict.SAFE),
        (0.91, 0.005, 500, Verdict.SAFE),
        (0.93, 0.030, 500, Verdict.SAFE),
        (0.90, 0.015, 500, Verdict.UNPROVEN),
        (0.88, 0.005, 500, Verdict.WORSE),
        (0.90, 0.005, 5, Verdict.UNMEASURED),
        (None, 0.0, 0, Verdict.UNMEASURED),
    ],
)
def test_a_move_is_safe_only_if_its_quality_was_measured_and_holds(
    target: float | None, error: float, samples: int, verdict: Verdict
) -> None:
    scalars: dict[str, Value] = {
        "saving_usd": 9.0,
        "quality_current": 0.91,
        "quality_target": target,
        "quality_samples_target": samples,
        "quality_loss_least": target and 0.91 - target - error,
        "quality_loss_most": target and 0.91 - target + error,
    }
    found = result("reprice", "c1", scalars, ("from_model", "to_model"), (("a", "b"),))
    arguments = {"to_model": "b", "from_model": "a"}
    (move,) = moves(Evidence((Called("c1", "reprice", arguments, found),)))
    assert move.verdict is verdict


def test_a_move_that_saves_nothing_is_no_move() -> None:
    found = result("reprice", "c1", {"saving_usd": -1.0}, ("from_model", "to_model"), (("a", "b"),))
    assert not moves(Evidence((Called("c1", "reprice", {"to_model": "b"}, found),)))
