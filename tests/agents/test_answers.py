"""Every kind of question gets an answer that passes the gate, with rich data and with poor."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from tests.fakes.toolbox import PLANTED, TRACE, Script
from tidings.agents.questions import asked, guidance
from tidings.domain.errors import InvalidInput
from tidings.domain.facts import Fact, ToolResult, all_facts
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
    facts = facts_of(calls)
    quality = judge(text, question, facts, results, asked(decide(question)))
    assert quality.passed, quality.findings
    assert quality.dimensions["grounding"] == 1.0
    assert "n/a" not in render(text, facts, results).text


def test_no_figure_that_may_be_absent_breaks_the_answer() -> None:
    """Whatever scalar or column a tool leaves empty, what rests on it is left out."""
    for tool, name in hideable():
        script = {**PLANTED, tool: without(PLANTED[tool], name)}
        for question in QUESTIONS[:3]:
            calls, text = answer(question, script)
            facts = facts_of(calls)
            named = re.findall(r"\{\{fact:([^}]+)\}\}", text)
            absent = [key for key in named if key not in facts or facts[key].value is None]
            assert not absent, f"{tool} without {name}: {question}"


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


def facts_of(calls: tuple[Called, ...]) -> dict[str, Fact]:
    return {f.id: f for c in calls if c.result for f in all_facts(c.tool, c.call_id, c.result)}


def _called(script: Script, call: ToolCall, number: int) -> Called:
    arguments = {name: value for name, value in call.arguments.items() if name != "purpose"}
    call_id = f"c{number}"
    try:
        found: ToolResult = script[call.name](call_id, arguments)
    except InvalidInput as error:
        return Called(call_id, call.name, arguments, error=error.code)
    return Called(call_id, call.name, arguments, found)


def hideable() -> Iterator[tuple[str, str]]:
    """Yield each tool with each of its scalars and columns."""
    for tool in sorted(PLANTED.keys() - {"chart", "query"}):
        for name in names_in(PLANTED[tool]):
            if name not in {"field", "coverage"}:
                yield tool, name


def names_in(script: Callable[[str, dict[str, Any]], ToolResult]) -> list[str]:
    """Return the scalars and columns of a tool."""
    found = script("c1", {"from_model": "gpt-4o", "to_model": "gpt-4o-mini"})
    columns = found.table.columns if found.table else ()
    return [*(fact.id.partition(".")[2] for fact in found.facts), *(c.name for c in columns)]


def without(
    script: Callable[[str, dict[str, Any]], ToolResult], name: str
) -> Callable[[str, dict[str, Any]], ToolResult]:
    """Return the tool, with this scalar or column left empty."""

    def call(call_id: str, arguments: dict[str, Any]) -> ToolResult:
        found = script(call_id, arguments)
        facts = tuple(fact for fact in found.facts if fact.id != f"{call_id}.{name}")
        table = found.table
        if table is not None:
            rows = tuple(
                tuple(
                    None if c.name == name else v for c, v in zip(table.columns, row, strict=True)
                )
                for row in table.rows
            )
            table = msgspec.structs.replace(table, rows=rows)
        return msgspec.structs.replace(found, facts=facts, table=table)

    return call
