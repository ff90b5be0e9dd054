"""Replies that are values: asked for in the provider's own way, mended, and put in words."""

import asyncio
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
    refusal,
    says,
)
from tests.fakes.toolbox import PLANTED
from tests.fakes.watch import hasty_chain
from tidings.models.connect import connect
from tidings.models.faults import ModelFault
from tidings.models.planner import Planner
from tidings.models.port import Message, Model, ModelReply, ModelRequest, OnText, unseen
from tidings.models.translation import OUTPUT_TOOL

DEGREES = {"type": "integer"}
SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "degrees": DEGREES,
        "wind": DEGREES,
        "days": {"type": "array", "items": {"type": "object", "properties": {"rain": DEGREES}}},
    },
    "required": ["city", "degrees"],
}
REQUEST = ModelRequest("Tell the weather.", (Message("user", "In Oslo?"),), schema=SCHEMA)
OSLO = {"city": "Oslo", "degrees": 4}
CUT = "Where does the money go, and what can I cut?"


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "x")


def gives(protocol: str, value: Any) -> RawAnswer:
    return calls(protocol, Asked("a", OUTPUT_TOOL, json.dumps(value)))


def takes_no_forms(answer: str) -> Rule:
    """Return the rule of a server that knows messages alone, and rejects whatever else is asked."""

    def rule(protocol: str, body: dict[str, Any], _number: int) -> RawAnswer:
        if {"tools", "response_format", "tool_choice"} & set(body):
            return refusal(protocol, 400, "invalid_request_error", "m does not support tools")
        return says(protocol, answer)

    return rule


def asked(protocol: str, rule: Rule, times: int = 1) -> tuple[list[ModelReply], BadProvider]:
    """Return a chain's replies to the request, and the provider that it asked."""

    async def scenario() -> tuple[list[ModelReply], BadProvider]:
        async with bad_provider(rule) as provider:
            model = connect(f"{protocol}:m", protocol, "m", provider.base_url(protocol))
            chain = hasty_chain(model)
            replies = [await chain.respond(REQUEST, unseen) for _ in range(times)]
            await chain.close()
            return replies, provider

    return asyncio.run(scenario())


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("first", "wrong"),
    [
        (lambda p: gives(p, {"city": "Oslo", "degrees": "mild"}), "must be of type integer"),
        (lambda p: says(p, "It is mild in Oslo."), "It is no JSON."),
        (lambda p: calls(p, Asked("x", "look_outside")), "It is no JSON."),
    ],
    ids=["unfit", "prose", "a tool that nobody offered"],
)
def test_a_model_is_told_what_does_not_fit(first: Any, wrong: str, protocol: str) -> None:
    def rule(protocol: str, _body: dict[str, Any], number: int) -> RawAnswer:
        answer: RawAnswer = first(protocol) if number == 0 else gives(protocol, OSLO)
        return answer

    ([reply], provider) = asked(protocol, rule)
    assert reply.value == OSLO
    assert reply.usage.requests == len(provider.requests) == 2
    assert wrong not in json.dumps(provider.requests[0])
    assert wrong in json.dumps(provider.requests[1]["messages"][-1])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_null_stands_for_a_part_that_may_be_absent(protocol: str) -> None:
    told = OSLO | {"wind": None, "days": [{"rain": None}, {"rain": 3}]}
    ([reply], _) = asked(protocol, always(lambda p: gives(p, told)))
    assert reply.value == OSLO | {"days": [{}, {"rain": 3}]}


def test_null_does_not_stand_for_a_part_that_is_required() -> None:
    with pytest.raises(ModelFault) as failed:
        asked(OPENAI, always(lambda p: gives(p, OSLO | {"degrees": None})))
    assert failed.value.code == "model_output_unfit"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_that_takes_no_forms_is_asked_in_words(protocol: str) -> None:
    rule = takes_no_forms(f"```json\n{json.dumps(OSLO)}\n```")
    replies, provider = asked(protocol, rule, times=2)
    assert [reply.value for reply in replies] == [OSLO, OSLO]
    assert [reply.usage.requests for reply in replies] == [2, 1]  # it is remembered
    assert '\\"degrees\\"' in json.dumps(provider.requests[-1])
    assert "Tell the weather." in json.dumps(provider.requests[-1])


def test_a_request_that_is_rejected_for_another_reason_is_rejected() -> None:
    rule = always(lambda p: refusal(p, 404, "not_found", "There is no such model"))
    with pytest.raises(ModelFault) as failed:
        asked(OPENAI, rule)
    assert failed.value.code == "model_rejected"


class Triaging:
    """Asks a provider for decisions, by a chain; the planner does the rest."""

    def __init__(self, protocol: str, rule: Rule) -> None:
        self.requests: list[dict[str, Any]] = []
        self._protocol = protocol
        self._rule = rule

    @property
    def name(self) -> str:
        return "test:triaging"

    async def respond(self, request: ModelRequest, on_text: OnText) -> ModelReply:
        if request.schema is None:
            return await Planner().respond(request, on_text)
        async with bad_provider(self._rule) as provider:
            provider.requests = self.requests
            url = provider.base_url(self._protocol)
            model: Model = connect("it:m", self._protocol, "m", url)
            return await hasty_chain(model).respond(request, on_text)


def triaged(path: Path, protocol: str, rule: Rule) -> tuple[Answered, list[dict[str, Any]]]:
    model = Triaging(protocol, rule)
    return ask(path, CUT, PLANTED, model=model), model.requests


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_triage_is_a_value_that_is_mended_once(protocol: str, tmp_path: Path) -> None:
    def rule(protocol: str, body: dict[str, Any], number: int) -> RawAnswer:
        assert is_offered(body, OUTPUT_TOOL)
        return gives(protocol, {"family": "speed" if number else "slowness"})

    found, requests = triaged(tmp_path, protocol, rule)
    assert found.answer.startswith("**chat lets your users wait longest")
    assert found.notices() == []
    assert len(requests) == 2
    assert "must be one of" in json.dumps(requests[1]["messages"][-1])


def test_triage_by_a_server_that_takes_no_forms(tmp_path: Path) -> None:
    found, _ = triaged(tmp_path, OPENAI, takes_no_forms('{"family": "speed"}'))
    assert found.answer.startswith("**chat lets your users wait longest")
    assert found.notices() == []
