"""What a run needs from the outside: an agent by name."""

from collections.abc import Awaitable, Callable, Mapping

from tidings.domain.runs import Outcome
from tidings.runs.context import RunContext

Agent = Callable[[RunContext], Awaitable[Outcome]]
"""`async def agent(ctx)`: works by the context's recorded steps, deterministic between them."""

Agents = Mapping[str, Agent]
