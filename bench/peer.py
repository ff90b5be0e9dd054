"""The peer: the same agent as people write it, FastAPI and pydantic-ai; it keeps nothing."""

from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, TypeAdapter
from pydantic_ai import Agent, AgentStreamEvent
from pydantic_ai.messages import ModelMessage, ModelRequest, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.run import AgentRunResultEvent

from bench.agents import WORDS

_events: TypeAdapter[AgentStreamEvent] = TypeAdapter(AgentStreamEvent)


class Ask(BaseModel):
    text: str


async def _answer(
    messages: list[ModelMessage], _info: AgentInfo
) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
    last = messages[-1]
    called = isinstance(last, ModelRequest) and isinstance(last.parts[-1], ToolReturnPart)
    if not called:
        yield {0: DeltaToolCall(name="echo", json_args='{"text":"hello"}', tool_call_id="c1")}
        return
    for word in WORDS:
        yield word


agent = Agent(FunctionModel(stream_function=_answer), instructions="Be brief.")


@agent.tool_plain
async def echo(text: str) -> str:
    """Return what was said."""
    return f"c1: {text}"


peer = FastAPI()


@peer.post("/chat")
async def chat(ask: Ask) -> StreamingResponse:
    """Stream the agent's events as lines of JSON."""
    return StreamingResponse(_lines(ask.text), media_type="application/x-ndjson")


async def _lines(text: str) -> AsyncIterator[bytes]:
    async with agent.run_stream_events(text) as events:
        async for event in events:
            if isinstance(event, AgentRunResultEvent):
                yield b'{"event_kind":"agent_run_result"}\n'
            else:
                yield _events.dump_json(event) + b"\n"
