"""Every kind of question gets an answer that passes the gate, with rich data and with poor."""

import pytest

from tests.fakes.toolbox import PLANTED, TRACE, Script
from tidings.agents.questions import asked, guidance
from tidings.domain.errors import InvalidInput
from tidings.domain.facts import ToolResult, all_facts
from tidings.models.port import ToolCall
from tidings.models.rules.calls import next_calls
from tidings.models.rules.words import decide
from tidings.models.rules.writing import write
from tidings.models.tasks import AnalysisTask, Called, ReportTask
from tidings.reports.gate import judge
from tidings.reports.render import render

QUESTIONS = (
    "Cut cost, keep quality; feature search tolerates 500 ms more, chat must keep its latency.",
    "My tools are too slow: three times lower latency, no more money.",
    "Usage grows 50 % next month: what happens to cost and to my rate limits?",
    "The feature classify is expensive: what would improve it?",
    "I consider gpt-4o and gpt-4o-mini: how would they do on my workload?",
    "Audit my use of prompt caching (KV caching).",
    "-20 % cost and 2x latency and +30 % usage, all at once: what are my choices?",
    "Which of my agent's tools should move to another model, and which must not?",
    "Was yesterday's upgrade worth it? Where not, roll back.",
    "Where does the money go?",
    "What changed?",
    "What is odd?",
    "What can I do this week?",
    "Where does the money go? These ran on gpt-4o.",
)


@pytest.mark.parametrize("script", [PLANTED, TRACE], ids=["planted", "trace"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_the_answer_passes_the_gate(question: str, script: Script) -> None:
    calls, text = answer(question, script)
    results = {call.call_id: call.result for call in calls if call.result is not None}
    facts = {f.id: f for c in calls if c.result for f in all_facts(c.tool, c.call_id, c.result)}
    quality = judge(text, question, facts, results, asked(decide(question)))
    assert quality.passed, quality.findings
    assert quality.dimensions["grounding"] == 1.0
    assert "n/a" not in render(text, facts, results).text


def answer(question: str, script: Script) -> tuple[tuple[Called, ...], str]:
    """Return the calls that the planner makes, and the answer it writes."""
    decision = decide(question)
    described = script["describe_data"]("c1", {})
    coverage = {str(row[0]): 1.0 for row in described.table.rows} if described.table else {}
    calls: tuple[Called, ...] = (Called("c1", "describe_data", {}, described),)
    while wanted := next_calls(AnalysisTask(question, decision, coverage, calls)):
        calls += tuple(_called(script, call, n) for n, call in enumerate(wanted, len(calls) + 1))
    advice = guidance(question, decision, coverage)
    return calls, write(ReportTask(question, decision, coverage, calls, advice))


def _called(script: Script, call: ToolCall, number: int) -> Called:
    arguments = {name: value for name, value in call.arguments.items() if name != "purpose"}
    call_id = f"c{number}"
    try:
        found: ToolResult = script[call.name](call_id, arguments)
    except InvalidInput as error:
        return Called(call_id, call.name, arguments, error=error.code)
    return Called(call_id, call.name, arguments, found)
