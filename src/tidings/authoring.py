"""What authors of agents and tools import; what is named here stays, all else may move."""

from tidings.app import App
from tidings.cli.serve import serve
from tidings.domain.errors import Failure
from tidings.domain.facts import Column, Fact, Table, ToolResult, Unit
from tidings.domain.permissions import Effect
from tidings.domain.runs import Outcome
from tidings.models.faults import ModelFault
from tidings.models.port import Message, Model, ModelReply, ModelRequest, ToolCall
from tidings.runs.context import RunContext
from tidings.runs.outcomes import ToolOutcome
from tidings.tools.port import ToolContext, tool

__all__ = [
    "App",
    "Column",
    "Effect",
    "Fact",
    "Failure",
    "Message",
    "Model",
    "ModelFault",
    "ModelReply",
    "ModelRequest",
    "Outcome",
    "RunContext",
    "Table",
    "ToolCall",
    "ToolContext",
    "ToolOutcome",
    "ToolResult",
    "Unit",
    "serve",
    "tool",
]
