"""Agno's AgentOS: `memory` keeps sessions in the process, `sqlite` in its store for SQLite."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from agno.agent import Agent
from agno.db.in_memory import InMemoryDb
from agno.db.sqlite import AsyncSqliteDb
from agno.models.base import Model
from agno.models.response import ModelResponse
from agno.os import AgentOS

from bench.peers.script import (
    AGENT,
    ARGUMENTS_JSON,
    CALL_ID,
    INSTRUCTIONS,
    TOOL,
    WORDS,
    echoed,
)

CALL = {
    "id": CALL_ID,
    "type": "function",
    "function": {"name": TOOL, "arguments": ARGUMENTS_JSON},
}


class ScriptModel(Model):
    """Answers at once, as the script has it."""

    def invoke(self, *_args: Any, **_kwargs: Any) -> ModelResponse:
        raise NotImplementedError

    async def ainvoke(self, *_args: Any, **_kwargs: Any) -> ModelResponse:
        raise NotImplementedError

    def invoke_stream(self, *_args: Any, **_kwargs: Any) -> Iterator[ModelResponse]:
        raise NotImplementedError

    async def ainvoke_stream(self, messages: list[Any], **_: Any) -> AsyncIterator[ModelResponse]:
        if messages[-1].role != "tool":
            yield ModelResponse(role="assistant", tool_calls=[CALL])
            return
        for word in WORDS:
            yield ModelResponse(role="assistant", content=word)

    def _parse_provider_response(self, response: Any, **_: Any) -> ModelResponse:
        return response

    def _parse_provider_response_delta(self, response: Any) -> ModelResponse:
        return response


async def echo(text: str) -> str:
    """Return what was said."""
    return echoed(text)


def main(port: int, folder: Path, kept: str) -> None:
    agent = Agent(
        id=AGENT,
        name=AGENT,
        model=ScriptModel(id="script"),
        tools=[echo],
        instructions=INSTRUCTIONS,
        db=AsyncSqliteDb(db_file=str(folder / "agno.db")) if kept == "sqlite" else InMemoryDb(),
        telemetry=False,
    )
    app = AgentOS(agents=[agent], telemetry=False).get_app()
    uvicorn.run(app, port=port, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
