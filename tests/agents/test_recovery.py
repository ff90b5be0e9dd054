"""Whatever fails on the way, the answer is reached, and says that it is degraded."""

import asyncio
from pathlib import Path

import pytest

from tests.agents.asking import ask
from tests.fakes.models import PartModel, reply
from tests.fakes.ports import FaultyDatabase
from tests.fakes.toolbox import PLANTED, TRACE
from tidings.domain.context import UserContext
from tidings.domain.errors import Failure, InvalidInput, Unavailable
from tidings.domain.facts import ToolResult
from tidings.models.port import ToolCall
from tidings.models.tasks import AnalysisTask, ReportTask
from tidings.reports.report import Report
from tidings.runs.repetition import SAME_CALLS_MAX

CUT = "Where does the money go, and what can I cut?"
INVENTED = "# Answer\n\nYou spend $98,765 a month, of which 40 % is waste.\n"


def down() -> Failure:
    return Failure("model_unavailable", "test:parts does not answer now.")


def test_a_model_that_never_answers_is_replaced_by_the_planner(tmp_path: Path) -> None:
    model = PartModel(TriageTask=[down(), down()], AnalysisTask=[down()])
    found = ask(tmp_path, CUT, PLANTED, model=model)
    assert found.status == "degraded"
    assert found.notices() == ["model_fallback", "model_fallback"]
    sentence = "test:parts does not answer now. The built-in planner goes on in its place."
    assert found.reasons() == [("model_fallback", sentence)]
    assert "**Move classify from gpt-4o to gpt-4o-mini" in found.answer
    assert "built-in planner" in found.answer


def test_a_model_that_fails_at_the_answer_leaves_the_template(tmp_path: Path) -> None:
    found = ask(tmp_path, CUT, PLANTED, model=PartModel(ReportTask=[down()]))
    assert found.status == "degraded"
    assert "**Move classify" in found.answer


def test_an_invented_figure_is_revised_and_never_shown(tmp_path: Path) -> None:
    model = PartModel(ReportTask=[reply(INVENTED)])
    found = ask(tmp_path, CUT, PLANTED, model=model)
    assert found.status == "completed"
    assert found.notices() == ["answer_revised"]
    assert found.reasons() == []
    assert "98,765" not in found.shown() + found.answer
    second = model.asked(ReportTask)[1]
    assert any("$98,765" in finding for finding in second.task.findings)
    assert "$98,765" in second.messages[0].text


def test_figures_invented_again_leave_the_template_and_its_findings(tmp_path: Path) -> None:
    model = PartModel(ReportTask=[reply(INVENTED), reply(INVENTED)])
    found = ask(tmp_path, CUT, PLANTED, model=model)
    assert found.status == "degraded"
    assert found.notices() == ["answer_revised", "answer_revised"]
    sentence = "No draft passed the check; you get the plain answer instead."
    assert found.reasons() == [("answer_revised", sentence)]
    assert any("$98,765" in finding for finding in found.told("notice")[1]["findings"])
    assert "98,765" not in found.answer
    assert "**Move classify" in found.answer
    assert "built-in planner" in found.answer


def test_a_revision_is_a_message_of_its_own(tmp_path: Path) -> None:
    found = ask(tmp_path, CUT, PLANTED, model=PartModel(ReportTask=[reply(INVENTED)]))
    last = found.told("answer_delta")[-1]["message_id"]
    assert last.startswith(found.told("notice")[0]["message_id"])


@pytest.mark.parametrize("said", ["money", '{"family": "luck"}', '{"mood": "good"}'])
def test_triage_that_is_no_decision_goes_by_the_words(said: str, tmp_path: Path) -> None:
    found = ask(tmp_path, CUT, PLANTED, model=PartModel(TriageTask=[reply(said)]))
    (notice,) = found.told("notice")
    assert (notice["code"], notice["cause"]) == ("model_fallback", "model_output_unfit")
    assert "**Move classify" in found.answer
    assert found.status == "degraded"


def test_a_model_the_user_did_not_name_is_not_assumed(tmp_path: Path) -> None:
    guess = '{"family": "spend", "constraints": {"assume_model": "gpt-4o"}}'
    found = ask(tmp_path, "Where does it go?", TRACE, model=PartModel(TriageTask=[reply(guess)]))
    assert "$" not in found.answer
    assert "spend_by" not in found.called()


def test_faulty_calls_go_back_to_the_model(tmp_path: Path) -> None:
    model = PartModel(AnalysisTask=[reply("", ToolCall("x", "spend_bye", {})), reply("")])
    found = ask(tmp_path, CUT, PLANTED, model=model)
    told = model.asked(AnalysisTask)[1].messages[-1]
    assert told.call_id == "x"
    assert "unknown_tool" in told.text
    assert "Did you mean spend_by" in told.text
    assert found.status == "completed"


def test_a_model_that_repeats_itself_is_stopped(tmp_path: Path) -> None:
    again = ToolCall("x", "latency_by", {"dimension": "model", "purpose": "Again"})
    model = PartModel(AnalysisTask=[reply("", again) for _ in range(9)])
    found = ask(tmp_path, CUT, PLANTED, model=model)
    assert found.called().count("latency_by") == SAME_CALLS_MAX + 1
    assert found.told("tool_completed")[-1]["error"]["code"] == "call_repeats"
    assert "analysis_repeats" in found.notices()
    assert found.told("tool_executing")[-1]["purpose"] == "Again"


def test_data_that_cannot_be_described_end_in_guidance(tmp_path: Path) -> None:
    def broken(_call_id: str, _arguments: object) -> ToolResult:
        raise InvalidInput("file_unreadable", "The file is not a usage log.")

    found = ask(tmp_path, CUT, {**PLANTED, "describe_data": broken})
    assert found.agents() == ["triage", "data_helper", "reporter"]
    assert found.told("tool_completed")[0]["ok"] is False


@pytest.mark.parametrize("tool", sorted(PLANTED.keys() - {"describe_data"}))
def test_an_answer_is_sound_whichever_tool_fails(tool: str, tmp_path: Path) -> None:
    def broken(_call_id: str, _arguments: object) -> ToolResult:
        raise InvalidInput("fields_missing", "The data lack what this needs.")

    found = ask(tmp_path, CUT, {**PLANTED, tool: broken})
    assert found.end["quality"]["passed"] is True
    assert found.status == "completed"


def test_an_answer_stands_when_its_report_cannot_be_kept(tmp_path: Path) -> None:
    async def full(_user: UserContext, _report: Report) -> None:
        raise Unavailable("storage_full", "There is no room left.")

    found = ask(tmp_path, CUT, PLANTED, save=full)
    assert found.status == "degraded"
    assert found.notices() == ["report_not_saved"]
    sentence = "The report could not be kept: There is no room left."
    assert found.reasons() == [("report_not_saved", sentence)]
    assert "**Move classify" in found.answer


def test_a_reporter_that_hangs_is_replaced_within_the_runs_time(tmp_path: Path) -> None:
    async def hangs(_user: UserContext, _report: Report) -> None:
        await asyncio.Event().wait()

    found = ask(tmp_path, CUT, PLANTED, save=hangs, seconds=5.0)
    assert found.status == "degraded"
    assert found.notices() == ["agent_failed_over"]
    assert "**Move classify" in found.answer


@pytest.mark.parametrize("nth", [8, 17, 26])
@pytest.mark.parametrize("after", [False, True])
def test_a_run_goes_on_where_the_store_failed(nth: int, after: bool, tmp_path: Path) -> None:
    """No call is made again under another id, and the end is the same."""
    found = ask(
        tmp_path, CUT, PLANTED, wrap=lambda db: FaultyDatabase(db, lambda n: n == nth, after=after)
    )
    ids = [call["call_id"] for call in found.told("tool_completed")]
    assert ids == [f"c{number}" for number in range(1, len(ids) + 1)]
    assert found.status == "completed"
    assert len(found.shelf.reports) == 1
