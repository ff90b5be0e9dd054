"""Tool calls that cannot be meant: the model is told so, and the run comes to its answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.agents.asking import Answered, ask
from tests.fakes.bad_provider import (
    OPENAI,
    PROTOCOLS,
    Asked,
    BadProvider,
    RawAnswer,
    Rule,
    always,
    bad_provider,
    calls,
    is_offered,
    says,
)
from tests.fakes.toolbox import PLANTED
from tests.fakes.watch import hasty_chain
from tidings.agents.loop import MODEL_REQUESTS_MAX
from tidings.models.connect import connect
from tidings.models.port import ModelReply, ModelRequest, OnText
from tidings.models.replies import CALLS_PER_REPLY_MAX
from tidings.runs.repetition import SAME_CALLS_MAX

CUT = "Where does the money go, and what can I cut?"
TRIAGED = json.dumps({"family": "cut_cost", "constraints": {}})
PURPOSE = '"purpose": "See"'
SPEND = Asked("c", "spend_by", f'{{"by": ["feature"], {PURPOSE}}}')


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "x")


def analysing(*turns: tuple[Asked, ...]) -> Rule:
    """Return the rule of a model that triages, then makes these calls, then says nothing useful."""
    waiting = list(turns)

    def rule(protocol: str, body: dict[str, Any], _number: int) -> RawAnswer:
        if is_offered(body, "spend_by") and waiting:
            return calls(protocol, *waiting.pop(0))
        return says(protocol, "Done." if is_offered(body, "spend_by") else TRIAGED)

    return rule


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_endless_loop_of_one_call_is_refused_and_ends(protocol: str, tmp_path: Path) -> None:
    found, provider = analyse(tmp_path, protocol, always(lambda p: calls(p, SPEND)))
    assert "analysis_repeats" in found.notices()
    assert found.called().count("spend_by") == SAME_CALLS_MAX + 1
    assert found.status == "degraded"
    assert "built-in planner" in found.answer
    assert len(provider.requests) <= 8


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_endless_loop_of_different_calls_ends_at_its_turns(
    protocol: str, tmp_path: Path
) -> None:
    def always_another(protocol: str, body: dict[str, Any], number: int) -> RawAnswer:
        if not is_offered(body, "spend_by"):
            return says(protocol, TRIAGED)
        arguments = f'{{"by": ["feature"], "limit": {number}, {PURPOSE}}}'
        return calls(protocol, Asked(f"c{number}", "spend_by", arguments))

    found, provider = analyse(tmp_path, protocol, always_another)
    assert "analysis_cut_short" in found.notices()
    assert found.called().count("spend_by") == MODEL_REQUESTS_MAX
    assert found.end["answer"]
    assert len(provider.requests) <= MODEL_REQUESTS_MAX + 4


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_of_calls_with_one_id_the_second_is_answered_by_an_error(
    protocol: str, tmp_path: Path
) -> None:
    other = Asked("c", "spend_over_time", f"{{{PURPOSE}}}")
    found, provider = analyse(tmp_path, protocol, analysing((SPEND, other)))
    assert found.called().count("spend_by") == 1
    assert "spend_over_time" not in found.called()
    told = results(protocol, provider.requests[2])
    assert len(set(told)) == 2
    assert ["duplicate_call_id" in text for text in told.values()] == [False, True]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_ids_that_begin_anew_each_turn_are_told_apart(protocol: str, tmp_path: Path) -> None:
    other = Asked("c", "describe_data", f"{{{PURPOSE}}}")
    _, provider = analyse(tmp_path, protocol, analysing((SPEND,), (other,)))
    told = results(protocol, provider.requests[3])
    assert len(told) == 2
    assert not any("duplicate_call_id" in text for text in told.values())


BAD_CALLS = {
    "unknown": (Asked("c", "delete_everything", f"{{{PURPOSE}}}"), "unknown_tool"),
    "unspeakable": (Asked("c", "rm -rf /; \u2028" * 9, "{}"), "unknown_tool"),
    "no JSON": (Asked("c", "spend_by", '{"by": ["fea'), "invalid_arguments"),
    "no object": (Asked("c", "spend_by", '["feature"]'), "invalid_arguments"),
    "nested": (Asked("c", "spend_by", "[" * 9_000), "invalid_arguments"),
    "large": (
        Asked("c", "spend_by", json.dumps({"by": "x" * 100_000})), "arguments_too_large"
    ),
    "half a pair": (Asked("c", "spend_by", '{"by": "\\ud800"}'), "invalid_arguments"),
}  # fmt: skip


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", BAD_CALLS)
def test_a_call_that_cannot_be_made_is_answered_by_its_error(
    name: str, protocol: str, tmp_path: Path
) -> None:
    call, code = BAD_CALLS[name]
    found, provider = analyse(tmp_path, protocol, analysing((call,)))
    (told,) = results(protocol, provider.requests[2]).values()
    assert code in told
    assert len(told) < 2_000
    assert found.end["answer"]


def test_a_reply_with_too_many_calls_is_no_reply(tmp_path: Path) -> None:
    many = [Asked(f"c{n}", "describe_data", f"{{{PURPOSE}}}") for n in range(500)]
    assert len(many) > CALLS_PER_REPLY_MAX
    rule = analysing(*[tuple(many)] * 9)
    found, provider = analyse(tmp_path, OPENAI, rule)
    causes = [notice.get("cause") for notice in found.told("notice")]
    assert "model_bad_reply" in causes
    assert found.status == "degraded"
    assert len(provider.requests) <= 9


def results(protocol: str, body: dict[str, Any]) -> dict[str, str]:
    """Return what a model was told of its calls, by their ids."""
    if protocol == OPENAI:
        return {m["tool_call_id"]: m["content"] for m in body["messages"] if m["role"] == "tool"}
    blocks = [b for m in body["messages"] if m["role"] == "user" for b in m["content"]]
    return {
        b["tool_use_id"]: json.dumps(b["content"]) for b in blocks if b["type"] == "tool_result"
    }


def analyse(path: Path, protocol: str, rule: Rule) -> tuple[Answered, BadProvider]:
    """Return what the analysis makes of a question with a model of this provider."""
    fake = BadProvider(rule)

    class Connected:
        """The provider's model, with its server for the time of the first request's event loop."""

        name = f"{protocol}:m"

        async def respond(self, request: ModelRequest, on_text: OnText) -> ModelReply:
            async with bad_provider(rule) as server:
                server.requests = fake.requests
                model = connect(self.name, protocol, "m", server.base_url(protocol))
                return await hasty_chain(model).respond(request, on_text)

    return ask(path, CUT, PLANTED, model=Connected()), fake
