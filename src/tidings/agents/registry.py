"""Agents by name: whoever is registered here can be asked for."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tidings.domain.errors import InvalidInput
from tidings.runs.port import Agent


@dataclass(frozen=True, slots=True)
class Registered:
    """A registered agent, the line that says what it does, and those whose work it can take."""

    name: str
    description: str
    agent: Agent
    stands_in_for: tuple[str, ...] = ()


class AgentRegistry(Mapping[str, Agent]):
    """The agents of this server."""

    def __init__(self) -> None:
        self._entries: dict[str, Registered] = {}

    def register(
        self, name: str, description: str, agent: Agent, *, stands_in_for: tuple[str, ...] = ()
    ) -> None:
        """Make an agent known by a name; a later one of the same name takes its place.

        It gets the work of those it stands in for while they fail often, and it does not.

        Raises:
            TypeError: it is no function.
        """
        given: object = agent
        if not callable(given):
            kind = type(given)
            raise TypeError(
                f"{name}: an agent is an `async def agent(ctx)`, not a {kind.__module__}."
                f"{kind.__qualname__}; one of pydantic-ai is registered as pydantic_agent(agent)"
            )
        self._entries[name] = Registered(name, description, agent, stands_in_for)

    def alternatives(self, name: str) -> tuple[str, ...]:
        """Return an agent's name and, behind it, those that stand in for it, as they came.

        Raises:
            InvalidInput: `unknown_agent`, as `registry[name]` does.
        """
        self[name]
        others = (entry.name for entry in self._entries.values() if name in entry.stands_in_for)
        return (name, *others)

    def names(self) -> tuple[str, ...]:
        """Return the known names, sorted."""
        return tuple(sorted(self._entries))

    def entries(self) -> tuple[Registered, ...]:
        """Return the known agents with their descriptions, sorted by name."""
        return tuple(self._entries[name] for name in self.names())

    def __getitem__(self, name: str) -> Agent:
        """Return an agent.

        Raises:
            InvalidInput: `unknown_agent`, naming those that are known and the nearest.
        """
        if name not in self:
            near = difflib.get_close_matches(name, self._entries, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            known = ", ".join(self.names())
            raise InvalidInput("unknown_agent", f"There is no such agent. Known: {known}.{hint}")
        return self._entries[name].agent

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
