"""FastAPI around a pydantic-ai agent that speaks AG-UI, as its guide has it; it keeps nothing."""

import sys
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI, Request, Response
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelRequest, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.ui.ag_ui import AGUIAdapter

from bench.peers.script import ARGUMENTS_JSON, CALL_ID, INSTRUCTIONS, TOOL, WORDS, echoed


async def _answer(
    messages: list[ModelMessage], _info: AgentInfo
) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
    last = messages[-1]
    if isinstance(last, ModelRequest) and isinstance(last.parts[-1], ToolReturnPart):
        for word in WORDS:
            yield word
    else:
        yield {0: DeltaToolCall(name=TOOL, json_args=ARGUMENTS_JSON, tool_call_id=CALL_ID)}


agent = Agent(FunctionModel(stream_function=_answer), instructions=INSTRUCTIONS)


@agent.tool_plain
async def echo(text: str) -> str:
    """Return what was said."""
    return echoed(text)


app = FastAPI()


@app.post("/run")
async def run(request: Request) -> Response:
    return await AGUIAdapter.dispatch_request(request, agent=agent)


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
