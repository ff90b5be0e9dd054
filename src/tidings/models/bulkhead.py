"""A bulkhead that tasks wait at: so many requests to a model at once, the urgent first."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tidings.models.faults import busy
from tidings.resilience.bulkhead import Admission, Bulkhead, BulkheadRules
from tidings.resilience.priority import Priority


class ModelBulkhead:
    """Lets tasks in as the bulkhead decides; who waits too long or is ousted is refused."""

    def __init__(self, model: str, rules: BulkheadRules) -> None:
        self._model = model
        self._bulkhead = Bulkhead(rules)

    @property
    def inside(self) -> int:
        """Return how many requests are under way."""
        return self._bulkhead.inside

    @asynccontextmanager
    async def entered(self, priority: Priority, wait_seconds: float) -> AsyncIterator[None]:
        """Be inside for the block.

        Raises:
            ModelFault: `model_busy`: no room, or not within `wait_seconds`.
        """
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry, ousted = self._bulkhead.enter(ticket, priority)
        if entry is Admission.REFUSED:
            raise busy(self._model)
        if isinstance(ousted, asyncio.Future) and not ousted.done():
            ousted.set_exception(busy(self._model))
        try:
            if entry is Admission.WAITING:
                await self._admitted(ticket, wait_seconds)
            yield
        finally:
            following = self._bulkhead.leave(ticket)
            if isinstance(following, asyncio.Future) and not following.done():
                following.set_result(None)

    async def _admitted(self, ticket: asyncio.Future[None], wait_seconds: float) -> None:
        try:
            async with asyncio.timeout(wait_seconds):
                await ticket
        except TimeoutError as error:
            raise busy(self._model) from error
