"""What a run needs from the outside: an agent by name."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tidings.domain.runs import Outcome

Agent = Callable[[Any], Awaitable[Outcome]]
"""`async def agent(ctx: RunContext) -> Outcome`; deterministic between its recorded steps."""

Agents = Mapping[str, Agent]
