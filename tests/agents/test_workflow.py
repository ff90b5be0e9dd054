"""The analysis, from a question to its report."""

from pathlib import Path

from tests.agents.asking import ask
from tests.fakes.toolbox import PLANTED, TRACE

CUT = "Where does the money go, and what can I cut?"


def test_a_planted_workload_shows_what_to_move_what_not_and_the_duplicates(tmp_path: Path) -> None:
    found = ask(tmp_path, CUT, PLANTED)
    assert found.status == "completed"
    assert "**Move classify from gpt-4o to gpt-4o-mini: it saves $54.00" in found.answer
    assert "**Leave chat on gpt-4o.**" in found.answer
    assert "**1,800 requests (18.0 %) repeat a prompt" in found.answer
    assert "rate_limited" in found.answer


def test_sufficient_data_go_to_the_analyst_at_once(tmp_path: Path) -> None:
    found = ask(tmp_path, CUT, PLANTED)
    assert found.agents() == ["triage", "analyst", "reporter"]
    assert found.events[0].type == "message_received"
    assert found.events[1].type == "agent_started"
    assert found.events[-1].type == "agent_completed"


def test_the_answer_is_kept_as_a_report_with_its_facts(tmp_path: Path) -> None:
    found = ask(tmp_path, CUT, PLANTED)
    report = found.report
    assert report.text.strip() in found.answer
    assert {fact.tool for fact in report.facts} >= {"spend_by", "reprice", "duplicate_requests"}
    assert found.end["quality"]["passed"] is True
    assert report.next_actions[0].startswith("Move classify")


def test_the_answer_is_shown_as_it_is_written(tmp_path: Path) -> None:
    found = ask(tmp_path, CUT, PLANTED)
    assert found.shown().strip() == found.report.text.strip()


def test_an_answer_says_who_wrote_it(tmp_path: Path) -> None:
    assert "built-in planner" in ask(tmp_path, CUT, PLANTED).answer


def test_a_saving_counts_a_duplicate_of_a_moved_request_once(tmp_path: Path) -> None:
    found = ask(tmp_path, CUT, PLANTED)
    formulas = [
        call["arguments"]["expression"]
        for call in found.told("tool_executing")
        if call["tool"] == "calculate"
    ]
    spend, duplicates, move = (
        next(c["call_id"] for c in found.told("tool_executing") if c["tool"] == tool)
        for tool in ("spend_by", "duplicate_requests", "reprice")
    )
    assert f"{spend}.total_usd / c1.days * 30" in formulas
    assert (
        f"{move}.saving_usd + {duplicates}.duplicate_cost_usd"
        f" - {duplicates}.r1.cost_usd * {move}.saving_share"
    ) in formulas


def test_a_trace_without_models_gives_volumes_and_no_money(tmp_path: Path) -> None:
    """What is missing is named with what it would allow; no amount is made up."""
    found = ask(tmp_path, "Where does the money go?", TRACE)
    assert found.status == "completed"
    assert found.agents() == ["triage", "data_helper", "analyst", "reporter"]
    assert "$" not in found.answer
    assert "`model`: the price of a request follows from its model." in found.answer
    assert "The biggest minute began at 2026-01-03 10:00 UTC: 900,000 tokens" in found.answer
    assert "LiteLLM_SpendLogs" in found.answer


def test_a_trace_and_a_model_named_by_the_user_give_its_list_price(tmp_path: Path) -> None:
    found = ask(tmp_path, "How do I cut cost? These ran on gpt-4o.", TRACE)
    assert "**$47.60 went into 10,000 requests" in found.answer
    assert "you said it was gpt-4o, so this is the list price" in found.answer


def test_without_data_there_is_guidance(tmp_path: Path) -> None:
    found = ask(tmp_path, "How do I cut my cost? We use Langfuse.", {})
    assert found.agents() == ["triage", "data_helper", "reporter"]
    assert found.called() == []
    assert "Langfuse: export the observations" in found.answer
    assert "Anthropic" not in found.answer


def test_a_question_about_something_else_is_answered_honestly(tmp_path: Path) -> None:
    found = ask(tmp_path, "Hello, write me a poem", PLANTED)
    assert "no good answer to it" in found.answer
    assert found.agents() == ["triage", "reporter"]
    assert found.status == "completed"


def test_a_question_about_speed_leads_with_the_longest_wait(tmp_path: Path) -> None:
    found = ask(tmp_path, "My tools are too slow: three times lower latency", PLANTED)
    assert found.answer.startswith("**chat lets your users wait longest: 2.40 s at the median")
    expressions = [c["arguments"].get("expression") for c in found.told("tool_executing")]
    assert "c2.r0.p95_ms / 3" in expressions


def test_a_limit_of_latency_is_checked_before_a_move(tmp_path: Path) -> None:
    found = ask(tmp_path, "Cut cost; feature classify must keep its latency", PLANTED)
    assert "this keeps the limit you set" in found.answer


def test_thoughts_say_what_is_being_done(tmp_path: Path) -> None:
    found = ask(tmp_path, "Where does the money go?", TRACE)
    thoughts = [thought["reasoning"] for thought in found.told("agent_thinking")]
    assert any("and the price of a request follows from its model" in text for text in thoughts)
    shares = [thought["progress"] for thought in found.told("agent_thinking")]
    assert shares == sorted(shares)


def test_two_models_are_compared_on_requests_that_name_none(tmp_path: Path) -> None:
    found = ask(tmp_path, "I consider gpt-4o and gpt-4o-mini: which?", TRACE)
    assert "**On gpt-4o-mini, these requests would cost" in found.answer
    assert "on gpt-4o.** " in found.answer
    assert "They name no model" in found.answer


def test_a_feature_that_the_data_do_not_know_is_said_so(tmp_path: Path) -> None:
    found = ask(tmp_path, "Cut cost; feature billing must keep its latency", PLANTED)
    assert "No request here says that it belongs to `billing`" in found.answer
