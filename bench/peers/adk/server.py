"""Google's ADK with its API server, which keeps sessions in SQLite unless told otherwise."""

import sys
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from google.adk.agents import Agent
from google.adk.cli.fast_api import get_fast_api_app
from google.adk.cli.utils.base_agent_loader import BaseAgentLoader
from google.adk.models import BaseLlm, LlmRequest, LlmResponse
from google.genai import types

from bench.peers.script import AGENT, ANSWER, ARGUMENTS, CALL_ID, INSTRUCTIONS, TOOL, WORDS, echoed


class ScriptModel(BaseLlm):
    """Answers at once, as the script has it: pieces, then the whole."""

    async def generate_content_async(
        self, llm_request: LlmRequest, **_streamed: bool
    ) -> AsyncIterator[LlmResponse]:
        last = llm_request.contents[-1].parts[-1]
        if last.function_response is None:
            call = types.FunctionCall(id=CALL_ID, name=TOOL, args=ARGUMENTS)
            yield _reply(types.Part(function_call=call))
            return
        for word in WORDS:
            yield _reply(types.Part(text=word), partial=True)
        yield _reply(types.Part(text=ANSWER), partial=False)


def _reply(part: types.Part, **more: Any) -> LlmResponse:
    return LlmResponse(content=types.Content(role="model", parts=[part]), **more)


async def echo(text: str) -> str:
    """Return what was said."""
    return echoed(text)


class OneAgent(BaseAgentLoader):
    """Knows the one agent there is."""

    agent = Agent(
        name=AGENT, model=ScriptModel(model="script"), instruction=INSTRUCTIONS, tools=[echo]
    )

    def load_agent(self, agent_name: str) -> Agent:
        assert agent_name == AGENT
        return self.agent

    def list_agents(self) -> list[str]:
        return [AGENT]


if __name__ == "__main__":
    port, folder = int(sys.argv[1]), sys.argv[2]
    app = get_fast_api_app(
        agents_dir=folder,
        agent_loader=OneAgent(),
        session_service_uri=f"sqlite:///{folder}/adk.db",
        web=False,
        port=port,
        auto_create_session=True,
    )
    uvicorn.run(app, port=port, log_level="warning")
