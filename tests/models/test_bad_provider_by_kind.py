"""A provider that misbehaves, under agents of every kind: the same ends, the same calls."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from pydantic_ai import Agent as AiAgent
from pydantic_ai.models import Model as AiModel
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from tests.fakes.bad_provider import OPENAI, PROTOCOLS, BadProvider, always, bad_provider
from tests.fakes.models import says as request_of
from tests.fakes.watch import hasty_chain, hasty_chains
from tests.models.test_bad_provider import CASES, HASTY, PATIENT, SECRET, Case
from tests.world import ANA, BOB, World, types, world
from tidings.agents.pydantic_agents import pydantic_agent
from tidings.domain.events import Event
from tidings.domain.runs import Outcome
from tidings.models.connect import connect
from tidings.models.patience import TimeLimits
from tidings.models.port import Model, ModelReply, ModelRequest, OnText
from tidings.models.wire import client
from tidings.resilience.retry import RetryPolicy
from tidings.runs.context import RunContext
from tidings.runs.port import Agent
from tidings.runs.queue import Limits

RETRY = RetryPolicy(retries_max=1, base_seconds=0.02)
SECONDS_MAX = 50.0
"""For all cases at once, on whatever machine this is."""


class ModelByQuestion:
    """The model that a question names: every case has its own."""

    def __init__(self, models: dict[str, Model]) -> None:
        self.name = "test:by-question"
        self._models = models

    async def respond(self, request: ModelRequest, on_text: OnText) -> ModelReply:
        return await self._models[request.messages[-1].text].respond(request, on_text)


class Scene(NamedTuple):
    """The providers of some cases, each on its own socket."""

    protocol: str
    times: TimeLimits
    cases: dict[str, Case]
    providers: dict[str, BadProvider]

    def served(self) -> Model:
        """Return the server's model, which is each case's."""
        chains: dict[str, Model] = {}
        for name, provider in self.providers.items():
            url = provider.base_url(self.protocol)
            model = connect(f"{self.protocol}:m", self.protocol, "m", url)
            chains[name] = hasty_chain(model, times=self.times, retry=RETRY)
        return ModelByQuestion(chains)

    def brought(self, name: str) -> AiModel:
        """Return a model of pydantic-ai's own making, over the client that bounds replies."""
        url = self.providers[name].base_url(self.protocol)
        if self.protocol == OPENAI:
            return OpenAIChatModel("m", provider=OpenAIProvider(base_url=url, http_client=client()))
        over = AnthropicProvider(base_url=url, api_key="x", http_client=client())
        return AnthropicModel("m", provider=over)


async def plain(ctx: RunContext) -> Outcome:
    return Outcome((await ctx.model(request_of(ctx.request.text))).text)


async def workflow(ctx: RunContext) -> Outcome:
    async with ctx.sub("writer", "Write") as sub:
        reply = await sub.model(request_of(ctx.request.text))
        await sub.complete("Written")
    return Outcome(reply.text)


def of_pydantic(model: AiModel | None = None) -> Agent:
    return pydantic_agent(AiAgent(model))


KINDS = ("plain", "workflow", "pydantic", "pydantic with its own model")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_fault_ends_every_kind_of_agent_by_name(
    kind: str, protocol: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)

    async def scenario() -> None:
        for times in (PATIENT, HASTY):
            path = tmp_path / str(times.gap)
            path.mkdir()
            async with asyncio.timeout(SECONDS_MAX), scene(protocol, times) as built:
                ended = await ends(path, built, kind)
                for name, events in ended.items():
                    check(built, kind, name, events)

    asyncio.run(scenario())


@asynccontextmanager
async def scene(protocol: str, times: TimeLimits) -> AsyncIterator[Scene]:
    """Have the providers of all cases with these limits."""
    cases = {name: case for name, case in CASES.items() if case.times is times}
    async with AsyncExitStack() as stack:
        providers = {
            name: await stack.enter_async_context(bad_provider(always(case.answer)))
            for name, case in cases.items()
        }
        yield Scene(protocol, times, cases, providers)


async def ends(path: Path, built: Scene, kind: str) -> dict[str, list[Event]]:
    """Return the events of a run for each case, all of them at once."""
    kinds: dict[str, Agent] = {"plain": plain, "workflow": workflow, "pydantic": of_pydantic()}
    agents = {
        name: kinds[kind] if kind in kinds else of_pydantic(built.brought(name))
        for name in built.cases
    }
    limits = Limits(runs=64, runs_per_user=32)
    chains = hasty_chains(times=built.times, retry=RETRY)
    async with world(path, agents, model=built.served(), chains=chains, limits=limits) as made:
        await made.begin()
        async with made.working(), asyncio.TaskGroup() as tasks:
            runs = {name: tasks.create_task(asked(made, name, n)) for n, name in enumerate(agents)}
        return {name: run.result() for name, run in runs.items()}


async def asked(made: World, name: str, number: int) -> list[Event]:
    user = (ANA, BOB)[number % 2]
    receipt = await made.ask(name, user, agent=name)
    return await made.events_until_end(receipt, user)


def check(built: Scene, kind: str, name: str, events: list[Event]) -> None:
    case = built.cases[name]
    assert events[-1].type == "agent_failed", (name, events[-1].payload)
    assert events[-1].payload["code"] == case.code, (name, events[-1].payload)
    shown = kind.startswith("pydantic")  # these show their text as it is written
    wanted = case.calls_shown if shown else case.calls
    assert len(built.providers[name].requests) == wanted, name
    assert events[-1].payload["usage"]["model_requests"] == wanted, name
    assert ("answer_delta" in types(events)) <= shown
    assert SECRET not in repr(events)
