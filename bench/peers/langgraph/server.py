"""LangGraph's development server: runs go through its queue; what it keeps is in memory."""

import os
import sys
from collections.abc import AsyncIterator
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage, ToolCallChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph_api.cli import run_server

from bench.peers.script import AGENT, ARGUMENTS_JSON, CALL_ID, TOOL, WORDS, echoed

JOBS = 64


class ScriptModel(BaseChatModel):
    """Answers at once, as the script has it."""

    @property
    def _llm_type(self) -> str:
        return "script"

    def _generate(self, *_args: Any, **_kwargs: Any) -> ChatResult:
        raise NotImplementedError

    async def _astream(
        self, messages: list[BaseMessage], *_args: Any, **_kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        if messages[-1].type != "tool":
            call = ToolCallChunk(name=TOOL, args=ARGUMENTS_JSON, id=CALL_ID, index=0)
            yield _piece("", tool_call_chunks=[call])
            return
        for word in WORDS:
            yield _piece(word)


def _piece(text: str, **more: Any) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content=text, **more))


@tool
async def echo(text: str) -> str:
    """Return what was said."""
    return echoed(text)


async def respond(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await ScriptModel().ainvoke(state["messages"])]}


graph = (
    StateGraph(MessagesState)
    .add_node("model", respond)
    .add_node("tools", ToolNode([echo]))
    .add_edge(START, "model")
    .add_conditional_edges("model", tools_condition)
    .add_edge("tools", "model")
    .compile()
)


if __name__ == "__main__":
    os.environ |= {"LANGSMITH_TRACING": "false", "LANGGRAPH_NO_VERSION_CHECK": "true"}
    os.chdir(sys.argv[2])
    run_server(
        port=int(sys.argv[1]),
        graphs={AGENT: f"{os.path.abspath(__file__)}:graph"},  # noqa: PTH100
        n_jobs_per_worker=JOBS,
    )
