"""An agent of pydantic-ai and its models: the server's or its own, under the policy of all."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, PromptedOutput
from pydantic_ai.capabilities import ProcessEventStream, ProcessHistory
from pydantic_ai.messages import AgentStreamEvent, ModelMessage
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.tools import RunContext as AiContext

from tests.fakes.bad_provider import (
    ANTHROPIC,
    OPENAI,
    PROTOCOLS,
    Asked,
    RawAnswer,
    Rule,
    always,
    bad_provider,
    calls,
    refusal,
    says,
)
from tests.fakes.ports import FaultyDatabase
from tests.fakes.watch import RememberingWatch, hasty_chain, hasty_chains
from tests.world import payloads, types, world
from tidings.agents.pydantic_agents import pydantic_agent
from tidings.domain.events import Event
from tidings.models.chains import CHAINS_BROUGHT_MAX, Chains
from tidings.models.connect import connect
from tidings.models.port import Model, ModelReply, ModelRequest, OnText
from tidings.models.pydantic_ai import models_of
from tidings.resilience.breaker import BreakerRules


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "x")


class Forecast(BaseModel):
    city: str
    degrees: int


def ran(
    path: Path, agent: Agent[None, Any], model: Model, chains: Chains | None = None
) -> list[Event]:
    """Return the events of one run on a server with this model."""

    async def scenario() -> list[Event]:
        agents = {"it": pydantic_agent(agent)}
        async with world(path, agents, model=model, chains=chains) as built:
            await built.begin()
            async with built.working():
                return await built.events_until_end(await built.ask("How warm is it?"))

    return asyncio.run(scenario())


class Served:
    """A chain of one provider for each rule, served while it is asked."""

    def __init__(self, *rules: tuple[str, Rule]) -> None:
        self.asked: list[list[dict[str, Any]]] = [[] for _ in rules]
        self._rules = rules

    @property
    def name(self) -> str:
        return "test:served"

    async def respond(self, request: ModelRequest, on_text: OnText) -> ModelReply:
        async with AsyncExitStack() as stack:
            models = []
            for number, (protocol, rule) in enumerate(self._rules):
                provider = await stack.enter_async_context(bad_provider(rule))
                provider.requests = self.asked[number]
                url = provider.base_url(protocol)
                models.append(connect(f"{protocol}:m{number}", protocol, "m", url))
            return await hasty_chain(*models).respond(request, on_text)


def in_turn(*answers: Any) -> Rule:
    """Return the rule of a provider that answers by the turn of the conversation."""

    def rule(protocol: str, body: dict[str, Any], _number: int) -> RawAnswer:
        turn = sum(message["role"] == "assistant" for message in body["messages"])
        answer: RawAnswer = answers[turn](protocol)
        return answer

    return rule


def weatherman(**options: Any) -> Agent[None, Any]:
    agent: Agent[None, Any] = Agent(instructions="Tell the weather.", **options)

    @agent.tool_plain(metadata={"effect": "read", "trusted": True})
    def weather(city: str) -> int:
        """Tell the weather."""
        return len(city)

    return agent


OSLO = Asked("c1", "weather", '{"city": "Oslo"}')


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_agent_without_a_model_asks_the_servers(protocol: str, tmp_path: Path) -> None:
    model = Served((protocol, in_turn(lambda p: calls(p, OSLO), lambda p: says(p, "It is ", "4."))))
    events = ran(tmp_path, weatherman(), model)
    (end,) = payloads(events, "agent_completed")
    assert end["answer"] == "".join(p["text"] for p in payloads(events, "answer_delta"))
    assert (end["answer"], end["status"]) == ("It is 4.", "completed")
    assert end["usage"]["model_requests"] == 2
    assert end["usage"]["input_tokens"] == 22
    assert "Tell the weather." in json.dumps(model.asked[0][0])
    assert "weather" in json.dumps(model.asked[0][0]["tools"])
    assert "output" not in end


def test_another_model_of_the_chain_answers_and_it_is_told(tmp_path: Path) -> None:
    first = always(lambda p: refusal(p, 401, "bad_key", "No"))
    second = in_turn(lambda p: calls(p, OSLO), lambda p: says(p, "Four."))
    events = ran(tmp_path, weatherman(), Served((OPENAI, first), (ANTHROPIC, second)))
    (notice,) = payloads(events, "notice")
    told = (notice["code"], notice["cause"], notice["model"], notice["instead_of"])
    assert told == ("model_fallback", "model_auth_failed", "anthropic:m1", "openai:m0")
    (end,) = payloads(events, "agent_completed")
    assert (end["answer"], end["status"]) == ("Four.", "degraded")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_structure_is_the_output_and_half_of_it_is_not_shown(
    protocol: str, tmp_path: Path
) -> None:
    given = Asked("c2", "final_result", '{"city": "Oslo", "degrees": 4}')
    rule = in_turn(lambda p: calls(p, OSLO), lambda p: calls(p, given))
    events = ran(tmp_path, weatherman(output_type=Forecast), Served((protocol, rule)))
    (end,) = payloads(events, "agent_completed")
    assert end["output"] == {"city": "Oslo", "degrees": 4}
    assert end["answer"] == '```json\n{\n  "city": "Oslo",\n  "degrees": 4\n}\n```'
    assert payloads(events, "answer_delta") == []


def test_a_structure_written_as_text_is_not_shown_as_an_answer(tmp_path: Path) -> None:
    agent = Agent(output_type=PromptedOutput(Forecast))
    text = ('{"city": "Oslo", ', '"degrees": 4}')
    events = ran(tmp_path, agent, Served((OPENAI, always(lambda p: says(p, *text)))))
    assert events[-1].payload["output"] == {"city": "Oslo", "degrees": 4}
    assert payloads(events, "answer_delta") == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "given", ['{"city": "Oslo", "degrees": "warm"}', '{"city": "Os', "[]"], ids=str
)
def test_a_model_that_does_not_give_the_structure_ends_the_run_by_name(
    given: str, protocol: str, tmp_path: Path
) -> None:
    model = Served((protocol, always(lambda p: calls(p, Asked("c", "final_result", given)))))
    events = ran(tmp_path, weatherman(output_type=Forecast), model)
    assert (events[-1].type, events[-1].payload["code"]) == ("agent_failed", "model_output_unfit")
    assert len(model.asked[0]) == 2  # the library has the model mend its output once


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_two_calls_of_one_id_are_one_call_and_one_refusal(protocol: str, tmp_path: Path) -> None:
    rome = Asked("c1", "weather", '{"city": "Rome!"}')
    rule = in_turn(lambda p: calls(p, OSLO, rome), lambda p: says(p, "Fine."))
    model = Served((protocol, rule))
    events = ran(tmp_path, weatherman(), model)
    assert [p["arguments"]["city"] for p in payloads(events, "tool_executing")] == ["Oslo"]
    assert "duplicate_call_id" in json.dumps(model.asked[0][1])
    assert events[-1].payload["answer"] == "Fine."


def test_its_own_model_runs_under_the_same_policy(tmp_path: Path) -> None:
    """Its faults are tried again by our layer alone, until its breaker opens."""
    watch = RememberingWatch()

    async def scenario() -> tuple[int, list[str], list[str]]:
        async with bad_provider(always(lambda p: refusal(p, 500, "api_error", "Oops"))) as server:
            provider = OpenAIProvider(base_url=server.base_url(OPENAI))
            agent = Agent(OpenAIChatModel("own", provider=provider))
            chains = hasty_chains(watch=watch, breaker=BreakerRules(calls_min=5))
            async with world(tmp_path, {"it": pydantic_agent(agent)}, chains=chains) as built:
                await built.begin()
                async with built.working():
                    runs = [
                        await built.events_until_end(await built.ask("go", id=f"m{n}"))
                        for n in range(3)
                    ]
            health = [(link.model, str(link.state)) for link in chains.health()]
            assert health == [("openai:own", "open")]
            return len(server.requests), [run[-1].payload["code"] for run in runs], types(runs[0])

    requests, codes, _ = asyncio.run(scenario())
    assert requests == 5
    assert codes == ["model_unavailable", "model_resting", "model_resting"]
    assert watch.retried == {"openai:own": 4}  # the last was refused before it was sent


def test_its_fallback_model_is_a_chain_and_says_so(tmp_path: Path) -> None:
    async def scenario() -> list[Event]:
        async with (
            bad_provider(always(lambda p: refusal(p, 429, "insufficient_quota", "No"))) as poor,
            bad_provider(always(lambda p: says(p, "Here."))) as rich,
        ):
            models = [
                OpenAIChatModel(name, provider=OpenAIProvider(base_url=server.base_url(OPENAI)))
                for name, server in (("poor", poor), ("rich", rich))
            ]
            agent = Agent(FallbackModel(*models))
            async with world(tmp_path, {"it": pydantic_agent(agent)}) as built:
                await built.begin()
                async with built.working():
                    return await built.events_until_end(await built.ask("go"))

    events = asyncio.run(scenario())
    (notice,) = payloads(events, "notice")
    assert (notice["model"], notice["instead_of"]) == ("openai:rich", "openai:poor")
    assert (events[-1].payload["answer"], events[-1].payload["status"]) == ("Here.", "degraded")


def test_its_own_listeners_and_histories_go_on_working(tmp_path: Path) -> None:
    heard: list[str] = []

    async def listen(_ctx: AiContext[None], stream: Any) -> None:
        event: AgentStreamEvent
        async for event in stream:
            heard.append(type(event).__name__)

    def shorter(messages: list[ModelMessage]) -> list[ModelMessage]:
        heard.append("history")
        return messages[-3:]

    agent = weatherman(capabilities=[ProcessEventStream(listen), ProcessHistory(shorter)])
    rule = in_turn(lambda p: calls(p, OSLO), lambda p: says(p, "Fine."))
    events = ran(tmp_path, agent, Served((OPENAI, rule)))
    assert events[-1].payload["answer"] == "Fine."
    assert heard.count("history") == 2
    assert "FunctionToolCallEvent" in heard


@pytest.mark.parametrize("failing", [4, 6, 8])
def test_after_a_crash_a_structure_is_not_asked_for_again(failing: int, tmp_path: Path) -> None:
    given = Asked("c2", "final_result", '{"city": "Oslo", "degrees": 4}')
    model = Served((OPENAI, in_turn(lambda p: calls(p, OSLO), lambda p: calls(p, given))))

    async def scenario() -> list[Event]:
        agents = {"it": pydantic_agent(weatherman(output_type=Forecast))}
        async with world(
            tmp_path,
            agents,
            model=model,
            wrap=lambda d: FaultyDatabase(d, lambda n: n == failing, after=True),
        ) as built:
            await built.begin()
            receipt = await built.ask("go")
            async with built.working():
                return await built.events_until_end(receipt)

    events = asyncio.run(scenario())
    assert events[-1].payload["output"] == {"city": "Oslo", "degrees": 4}
    assert len(model.asked[0]) <= 3
    assert len(payloads(events, "tool_completed")) == 1


def test_chains_of_brought_models_are_remembered_within_a_bound() -> None:
    chains = hasty_chains()
    provider = OpenAIProvider(base_url="http://127.0.0.1:9/v1", api_key="x")
    model = OpenAIChatModel("m", provider=provider)
    assert chains.brought(models_of(model)) is chains.brought(models_of(model))
    for _ in range(CHAINS_BROUGHT_MAX):
        chains.brought(models_of(OpenAIChatModel("m", provider=provider)))
    assert len(chains.health()) == CHAINS_BROUGHT_MAX


def test_the_models_of_every_chain_are_on_health() -> None:
    """Those of the server's own chain before those that agents bring, each by its own breaker."""
    chains = hasty_chains()
    provider = OpenAIProvider(base_url="http://127.0.0.1:9/v1", api_key="x")
    chains.brought(models_of(OpenAIChatModel("brought", provider=provider)))
    links = [connect(f"openai:{name}", OPENAI, name, "http://127.0.0.1:9/v1") for name in "ab"]
    own = chains.made(tuple(links))
    found = [link.model for link in chains.health()]
    assert found == ["openai:a", "openai:b", "openai:brought"]
    asyncio.run(own.close())
