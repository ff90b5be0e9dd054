"""An agent of pydantic-ai, over a provider's real protocol, with the guarantees of our own."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, ModelRetry
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from tests.fakes.openai_server import Answer, OpenAIServer, error, openai_server, stream
from tests.fakes.ports import FaultyDatabase
from tests.world import payloads, types, world
from tidings.agents.pydantic_agents import pydantic_agent
from tidings.cli.values import is_typed
from tidings.domain.events import Event
from tidings.domain.proof import Proof
from tidings.runs.queue import Limits


class Forecast(BaseModel):
    city: str
    degrees: int


class Weather:
    """A tool that counts how often it was really called."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def agent(self, server: OpenAIServer, **options: Any) -> Agent[None, Any]:
        provider = OpenAIProvider(base_url=server.base_url, api_key="sk-secret")
        agent: Agent[None, Any] = Agent(OpenAIChatModel("m", provider=provider), **options)

        @agent.tool_plain(metadata={"effect": "read"})
        def weather(city: str) -> dict[str, Any]:
            """Tell the weather."""
            self.calls.append(city)
            if city == "Nowhere":
                raise ModelRetry("There is no such city.")
            if city == "Hell":
                raise OSError("disk full at /secret")
            return {"city": city, "degrees": 21}

        return agent


def calling(city: str, call_id: str = "call_1") -> Answer:
    function = {"name": "weather", "arguments": f'{{"city":"{city}"}}'}
    call = {"index": 0, "id": call_id, "type": "function", "function": function}
    return stream({"role": "assistant", "tool_calls": [call]}, finish="tool_calls")


def saying(*words: str) -> Answer:
    return stream(*({"content": word} for word in words))


def told(
    tmp_path: Path, weather: Weather, *answers: Answer, seconds: float = 60, **options: Any
) -> list[Event]:
    """Return the events of one run."""

    async def scenario() -> list[Event]:
        async with openai_server(*answers) as server:
            agent = pydantic_agent(weather.agent(server, **options))
            limits = Limits(run_seconds=seconds)
            async with world(tmp_path, {"weather": agent}, limits=limits) as built:
                await built.begin()
                async with built.working():
                    return await built.events_until_end(await built.ask("How warm is it?"))

    return asyncio.run(scenario())


def test_its_requests_and_calls_are_events_like_any_others(tmp_path: Path) -> None:
    weather = Weather()
    events = told(tmp_path, weather, calling("Oslo"), saying("It is ", "21."))
    assert [t for t in types(events) if t != "answer_delta"] == [
        "message_received",
        "agent_started",
        "tool_executing",
        "tool_completed",
        "agent_completed",
    ]
    (executing,) = payloads(events, "tool_executing")
    assert (executing["tool"], executing["arguments"]) == ("weather", {"city": "Oslo"})
    (completed,) = payloads(events, "tool_completed")
    assert completed["ok"] is True
    assert completed["result"]["content"] == '{"city":"Oslo","degrees":21}'
    assert "".join(p["text"] for p in payloads(events, "answer_delta")) == "It is 21."
    (end,) = payloads(events, "agent_completed")
    assert end["answer"] == "It is 21."
    assert end["usage"]["model_requests"] == 2
    assert end["usage"]["input_tokens"] == 22
    assert end["usage"]["cost_usd"] is None  # nobody knows a price for the model `m`
    proof = Proof()
    for event in events[:-1]:
        proof = proof.with_event(event.offset, event.event_id, event.type)
    assert end["proof"] == {"count": proof.count, "digest": proof.digest}
    assert weather.calls == ["Oslo"]


def test_structured_output_is_the_answer_as_json(tmp_path: Path) -> None:
    function = {"name": "final_result", "arguments": '{"city":"Oslo","degrees":3}'}
    call = {"index": 0, "id": "c", "type": "function", "function": function}
    answer = stream({"role": "assistant", "tool_calls": [call]}, finish="tool_calls")
    events = told(tmp_path, Weather(), answer, output_type=Forecast)
    (end,) = payloads(events, "agent_completed")
    assert '"degrees": 3' in end["answer"]
    assert is_typed(end), "people are shown its fields"


@pytest.mark.parametrize(
    ("city", "code"), [("Nowhere", "tool_retry"), ("Hell", "tool_failed")], ids=str
)
def test_a_tools_failure_goes_back_to_the_model(tmp_path: Path, city: str, code: str) -> None:
    weather = Weather()
    answers = (calling(city), calling("Oslo", "call_2"), saying("Fine."))
    events = told(tmp_path, weather, *answers, retries=2)
    failed, fine = payloads(events, "tool_completed")
    assert (failed["ok"], failed["error"]["code"], fine["ok"]) == (False, code, True)
    assert "/secret" not in str(events)
    assert events[-1].type == "agent_completed"
    assert weather.calls == [city, "Oslo"]


def test_a_provider_that_fails_ends_the_run_typed_and_without_its_words(tmp_path: Path) -> None:
    events = told(tmp_path, Weather(), error(401, "bad key sk-secret"))
    (end,) = payloads(events, "agent_failed")
    assert end["code"].startswith("model_auth")
    assert "sk-secret" not in str(events)


def test_a_provider_that_says_nothing_costs_half_of_the_time_that_is_left(tmp_path: Path) -> None:
    events = told(tmp_path, Weather(), Answer(200, b"", cut=True, hang=True), seconds=3)
    (end,) = payloads(events, "agent_failed")
    assert end["code"] == "model_timeout"


def test_invalid_arguments_reach_the_model_and_not_the_tool(tmp_path: Path) -> None:
    function = {"name": "weather", "arguments": '{"town":1}'}
    call = {"index": 0, "id": "bad", "type": "function", "function": function}
    bad = stream({"role": "assistant", "tool_calls": [call]}, finish="tool_calls")
    weather = Weather()
    events = told(tmp_path, weather, bad, calling("Oslo", "good"), saying("Fine."), retries=2)
    assert events[-1].type == "agent_completed"
    assert weather.calls == ["Oslo"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("failing", range(4, 13))
def test_after_a_crash_nothing_that_is_recorded_is_asked_or_called_again(
    tmp_path: Path, failing: int, after: bool
) -> None:
    """The store fails at the n-th write; the next attempt goes on behind the last record."""
    weather = Weather()

    async def scenario() -> tuple[list[Event], int]:
        answers = (calling("Oslo"), calling("Rome", "call_2"), saying("Done."))
        async with openai_server(*answers, by_turn=True) as server:
            agent = pydantic_agent(weather.agent(server))
            async with world(
                tmp_path,
                {"weather": agent},
                wrap=lambda inner: FaultyDatabase(inner, lambda n: n == failing, after=after),
            ) as built:
                await built.begin()
                receipt = await built.ask("How warm?")
                async with built.working():
                    events = await built.events_until_end(receipt)
            return events, len(server.requests)

    events, requests = asyncio.run(scenario())
    assert events[-1].type == "agent_completed"
    assert types(events).count("agent_started") == 1
    cities = [p["arguments"]["city"] for p in payloads(events, "tool_executing")]
    assert cities == ["Oslo", "Rome"]
    assert len(payloads(events, "tool_completed")) == 2
    assert requests <= 4
    assert len(weather.calls) <= 3  # at most the one call whose record was lost is repeated
