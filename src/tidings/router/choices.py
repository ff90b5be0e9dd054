"""The agents that a user can choose among."""

from collections.abc import Iterable
from typing import Any, Protocol

from tidings.router.lookout import Lookout


class Described(Protocol):
    """An agent's name, and the line that says what it does."""

    @property
    def name(self) -> str:
        """By which it is asked for."""
        ...

    @property
    def description(self) -> str:
        """What it does."""
        ...


class DescribedAgents(Protocol):
    """The agents there are."""

    def entries(self) -> Iterable[Described]:
        """Return them, sorted by name."""
        ...


class Choices:
    """What can be named in a request, and who gets one that names nobody."""

    def __init__(self, agents: DescribedAgents, lookout: Lookout, default_agent: str) -> None:
        self._agents = agents
        self._lookout = lookout
        self._default_agent = default_agent

    def shown(self) -> list[dict[str, Any]]:
        """Return every agent: what it does, whether it does well now, and which is the default."""
        return [
            {
                "name": entry.name,
                "description": entry.description,
                "well": self._lookout.is_well(entry.name),
                "default": entry.name == self._default_agent,
            }
            for entry in self._agents.entries()
        ]
