"""The tools there are, by name; no call gets past here without valid arguments."""

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from pydantic import BaseModel, ValidationError

from tidings.domain.errors import InvalidInput
from tidings.domain.shapes import ARGUMENTS_BYTES_MAX
from tidings.health.overview import ToolHealth
from tidings.resilience.breaker import Breakers, BreakerState
from tidings.resilience.retry import RetryBudgets
from tidings.tools.port import Tool

PROBLEMS_TOLD_MAX = 5


class Catalogue:
    """The tools that agents may call, each name once.

    `breakers` are kept by user and tool, `retries` by tool.
    """

    def __init__(self, tools: Iterable[Tool]) -> None:
        self.breakers = Breakers()
        self.retries = RetryBudgets()
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            self.add(tool)

    def add(self, tool: Tool) -> None:
        """Add a tool.

        Raises:
            ValueError: there is one of that name.
        """
        if tool.name in self._tools:
            raise ValueError(f"there are two tools named {tool.name}")
        self._tools[tool.name] = tool

    def put(self, tool: Tool) -> None:
        """Add a tool, or have it in the place of the one of its name."""
        self._tools[tool.name] = tool

    def __iter__(self) -> Iterator[Tool]:
        return iter(tuple(self._tools.values()))

    def health(self, now: float) -> tuple[ToolHealth, ...]:
        """Return for how many users each tool rests or is tried again; `now` is monotonic."""
        counts = Counter(
            (key[1], state)
            for key, state in self.breakers.states(now)
            if isinstance(key, tuple) and state is not BreakerState.CLOSED
        )
        return tuple(
            ToolHealth(name, counts[name, BreakerState.OPEN], counts[name, BreakerState.HALF_OPEN])
            for name in sorted(self._tools)
        )

    def specs(self) -> tuple[tuple[str, str, dict[str, Any]], ...]:
        """Return name, description and JSON Schema of the arguments of every tool."""
        return tuple((tool.name, tool.description, tool.schema()) for tool in self)

    def repeatable(self, what: str | Tool) -> bool:
        """Return whether a second call does no harm; one that does not exist does none."""
        tool = self._tools.get(what) if isinstance(what, str) else what
        return tool is None or tool.effect.repeatable

    def trusted(self, what: str | Tool) -> bool:
        """Return whether what a tool says was made here, and by nobody else."""
        tool = self._tools.get(what) if isinstance(what, str) else what
        return tool is not None and tool.trusted

    def named(self, name: str) -> Tool:
        """Return a tool.

        Raises:
            InvalidInput: `unknown_tool`, naming those there are.
        """
        if name not in self._tools:
            raise InvalidInput("unknown_tool", self._unknown(name))
        return self._tools[name]

    def check(self, what: str | Tool, arguments: dict[str, Any]) -> tuple[Tool, BaseModel]:
        """Return the tool, one of these by name or any other, and the arguments as it takes them.

        Raises:
            InvalidInput: `unknown_tool`, naming those there are, or `invalid_arguments`, naming
                what is wrong.
        """
        tool = self.named(what) if isinstance(what, str) else what
        try:
            encoded = msgspec.json.encode(arguments)
        except TypeError as error:
            raise InvalidInput(
                "invalid_arguments", f"The arguments are no JSON: {error}"
            ) from error
        if len(encoded) > ARGUMENTS_BYTES_MAX:
            raise InvalidInput(
                "arguments_too_large", f"The arguments have over {ARGUMENTS_BYTES_MAX:,} bytes."
            )
        try:
            return tool, tool.arguments.model_validate_json(encoded, strict=True)
        except ValidationError as error:
            problems = error.errors(include_url=False, include_input=False)[:PROBLEMS_TOLD_MAX]
            told = "; ".join(f"{_path(p['loc'])}: {p['msg']}" for p in problems)
            raise InvalidInput("invalid_arguments", told) from error

    def _unknown(self, name: str) -> str:
        close = difflib.get_close_matches(name[:64], self._tools, 1)
        meant = f" Did you mean {close[0]}?" if close else ""
        return f"There is no such tool.{meant} Known tools: {', '.join(sorted(self._tools))}."


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "arguments"
