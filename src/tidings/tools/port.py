"""A tool: typed arguments in, a result with facts out."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, create_model

from tidings.domain.context import UserContext
from tidings.domain.facts import Fact, ToolResult
from tidings.domain.permissions import Effect

DEFAULT_DEADLINE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class ToolContext:
    """For whom and in which call a tool works.

    `idempotency_key` is the same when a call is repeated after a crash: pass it on to whatever the
    tool changes. `facts` and `results` are those of the run so far, by fact id and by call id.
    """

    user: UserContext
    run_id: str
    call_id: str
    idempotency_key: str
    files: tuple[str, ...]
    facts: Mapping[str, Fact]
    results: Mapping[str, ToolResult]


@dataclass(frozen=True, slots=True)
class Tool:
    """Something an agent may do.

    A call of a tool that is not repeatable by its effect, and whose outcome is unknown after a
    crash, is reported as unknown and never repeated. `trusted`: its results hold nothing that
    somebody else may have written; those of other tools make tools that write ask for leave.
    `foreign`: somebody else has written its description, so a model that is told of it has seen
    content from outside.
    """

    name: str
    description: str
    arguments: type[BaseModel]
    call: Callable[[ToolContext, Any], Awaitable[ToolResult]]
    effect: Effect = Effect.WRITE
    trusted: bool = False
    foreign: bool = False
    deadline_seconds: float = DEFAULT_DEADLINE_SECONDS

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the arguments, as models are told it."""
        return self.arguments.model_json_schema()


def tool(
    *,
    effect: Effect = Effect.WRITE,
    trusted: bool = False,
    name: str | None = None,
    deadline_seconds: float = DEFAULT_DEADLINE_SECONDS,
) -> Callable[[Callable[..., Awaitable[ToolResult]]], Tool]:
    """Make a tool of `async def f(ctx, argument: type = default, ...) -> ToolResult`.

    The docstring is the description; the annotated parameters after the first are the arguments,
    validated strictly: unknown ones are refused.

    Raises:
        TypeError: the function is not of this form.
    """

    def make(function: Callable[..., Awaitable[ToolResult]]) -> Tool:
        parameters = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        _check(function, parameters)
        fields: dict[str, Any] = {
            p.name: (p.annotation, ... if p.default is p.empty else p.default) for p in parameters
        }
        arguments = create_model(
            f"{function.__name__}_arguments", __config__=ConfigDict(extra="forbid"), **fields
        )

        async def call(context: ToolContext, values: BaseModel) -> ToolResult:
            return await function(context, **{p.name: getattr(values, p.name) for p in parameters})

        return Tool(
            name=name or function.__name__,
            description=inspect.getdoc(function) or "",
            arguments=arguments,
            call=call,
            effect=effect,
            trusted=trusted,
            deadline_seconds=deadline_seconds,
        )

    return make


def _check(function: Callable[..., Any], arguments: list[inspect.Parameter]) -> None:
    name = function.__name__
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"the tool {name} is a plain function; write `async def {name}(ctx, ...)`")
    bare = [argument.name for argument in arguments if argument.annotation is argument.empty]
    if bare:
        raise TypeError(f"the tool {name} does not say the types of: {', '.join(bare)}")
