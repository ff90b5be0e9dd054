"""A real model over its real HTTP protocol: pieces, usage, cancellation, a server that dies.

Its answers are nonsense; what is shown is the protocol.
"""

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import pytest

from tests.fakes import local_model
from tests.fakes.watch import hasty_chain
from tests.harness.server import ROOT
from tests.world import payloads, types, world
from tidings.domain.runs import Outcome
from tidings.models.chain import Chain
from tidings.models.faults import ModelFault
from tidings.models.patience import TimeLimits
from tidings.models.port import Message, ModelRequest, unseen
from tidings.models.providers import named_models
from tidings.resilience.retry import RetryPolicy
from tidings.runs.context import RunContext

pytestmark = pytest.mark.skipif(
    bool(local_model.missing()), reason=f"not installed: {local_model.missing()}"
)

ENDLESS = ModelRequest(
    "You count.", (Message("user", "Count from one to a thousand."),), max_output_tokens=3_000
)
BRIEF = ModelRequest("Be brief.", (Message("user", "Say hello."),), max_output_tokens=12)


class LocalServer:
    """The model's process."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.fakes.local_model"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, cwd=ROOT
        )
        told: IO[bytes] | None = self.process.stdout
        assert told is not None
        self.url = told.readline().decode().strip()
        assert self.url.startswith("http://127.0.0.1:")

    @asynccontextmanager
    async def chain(self) -> AsyncIterator[Chain]:
        """Have a chain of this model alone around the block, with time for a slow machine."""
        times = TimeLimits(connect=10.0, first_byte=60.0, gap=60.0)
        retry = RetryPolicy(retries_max=0)
        chain = hasty_chain(*named_models(f"openai:m@{self.url}/v1"), times=times, retry=retry)
        try:
            yield chain
        finally:
            await chain.close()  # else its connection stays open until it is swept up

    def generating(self) -> int:
        """Return how many replies the server is writing, by its own word."""
        with urllib.request.urlopen(f"{self.url}/slots") as answer:
            return sum(slot["is_processing"] for slot in json.load(answer))

    async def idle(self) -> bool:
        """Return whether the server stops writing soon."""
        for _ in range(100):
            if not self.generating():
                return True
            await asyncio.sleep(0.1)
        return False

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    running = LocalServer()
    yield running
    running.kill()


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")


def test_a_run_streams_its_answer_and_counts_what_it_took(
    server: LocalServer, tmp_path: Path
) -> None:
    async def answers(ctx: RunContext) -> Outcome:
        async def show(piece: str) -> None:
            await ctx.delta("m", piece)

        return Outcome((await ctx.model(BRIEF, on_text=show)).text)

    async def scenario() -> None:
        async with (
            server.chain() as chain,
            world(tmp_path, {"it": answers}, model=chain) as built,
        ):
            await built.begin()
            async with built.working():
                events = await built.events_until_end(await built.ask("go"))
        assert types(events)[-1] == "agent_completed"
        shown = "".join(delta["text"] for delta in payloads(events, "answer_delta"))
        assert shown == events[-1].payload["answer"] != ""
        usage = events[-1].payload["usage"]
        assert usage["model_requests"] == 1
        assert usage["input_tokens"] > 10
        assert 0 < usage["output_tokens"] <= 12
        assert usage["cost_usd"] is None

    asyncio.run(scenario())


def test_pieces_arrive_before_the_reply_is_whole(server: LocalServer) -> None:
    async def scenario() -> None:
        pieces: list[str] = []

        async def show(piece: str) -> None:
            pieces.append(piece)

        async with server.chain() as chain:
            reply = await chain.respond(BRIEF, show)
        assert len(pieces) > 2
        assert "".join(pieces) == reply.text

    asyncio.run(scenario())


def test_a_cancelled_request_stops_the_server_s_writing(server: LocalServer) -> None:
    async def scenario() -> None:
        begun = asyncio.Event()

        async def show(_piece: str) -> None:
            begun.set()

        async with server.chain() as chain, asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(chain.respond(ENDLESS, show))
            await begun.wait()
            assert server.generating() == 1
            asking.cancel()
        assert await server.idle()

    asyncio.run(scenario())


def test_a_value_that_the_model_cannot_give_is_a_named_fault(server: LocalServer) -> None:
    """In six tokens nobody can; nothing of it is shown, and the model is asked again."""
    told = {"city": {"type": "string"}, "degrees": {"type": "integer"}}
    schema = {"type": "object", "properties": told, "required": list(told)}
    asked = (Message("user", "How warm is it in Oslo?"),)
    request = ModelRequest("Answer.", asked, max_output_tokens=6, schema=schema)
    shown: list[str] = []

    async def show(piece: str) -> None:
        shown.append(piece)

    async def scenario() -> None:
        async with server.chain() as chain:
            with pytest.raises(ModelFault) as failed:
                await chain.respond(request, show)
            assert failed.value.code == "model_output_unfit"
            assert 0 < failed.value.usage.output_tokens <= 6
            assert (await chain.respond(BRIEF, unseen)).text

    asyncio.run(scenario())
    assert shown == []


def test_a_server_that_dies_in_mid_stream_is_a_named_fault() -> None:
    dying = LocalServer()

    async def scenario() -> str:
        async def show(_piece: str) -> None:
            dying.process.kill()

        with pytest.raises(ModelFault) as failed:
            async with dying.chain() as chain:
                await chain.respond(ENDLESS, show)
        with pytest.raises(ModelFault) as gone:
            async with dying.chain() as chain:
                await chain.respond(BRIEF, unseen)
        assert gone.value.code == "model_unavailable"
        return failed.value.code

    try:
        assert asyncio.run(scenario()) == "model_unavailable"
    finally:
        dying.kill()
