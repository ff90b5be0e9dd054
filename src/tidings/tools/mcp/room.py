"""Room for calls at one tool server: bounded, and shared out fairly among users."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tidings.domain.errors import Unavailable

CALLS_AT_ONCE_MAX = 8
CALLS_OF_USER_MAX = 4
CALLS_WAITING_MAX = 64
WAIT_SECONDS_MAX = 5.0


class FairRoom:
    """Lets calls in: the user with the fewest calls inside is next, of those who came first."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._inside: Counter[str] = Counter()
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []

    @property
    def inside(self) -> int:
        """How many calls are under way."""
        return self._inside.total()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @asynccontextmanager
    async def entered(self, user: str) -> AsyncIterator[None]:
        """Be inside for the block.

        Raises:
            Unavailable: `tool_server_busy`: no room within WAIT_SECONDS_MAX, or too many wait.
        """
        if len(self._waiting) >= CALLS_WAITING_MAX:
            raise self._busy()
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((user, ticket))
        self._admit()
        try:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                await ticket
        except TimeoutError as error:
            self._leave(user, ticket)
            raise self._busy() from error
        except asyncio.CancelledError:
            self._leave(user, ticket)
            raise
        try:
            yield
        finally:
            self._leave(user, ticket)

    def _admit(self) -> None:
        while self.inside < CALLS_AT_ONCE_MAX:
            may = [
                (user, ticket)
                for user, ticket in self._waiting
                if self._inside[user] < CALLS_OF_USER_MAX and not ticket.cancelled()
            ]
            if not may:
                return
            user, ticket = entry = min(may, key=lambda entry: self._inside[entry[0]])
            self._waiting.remove(entry)
            self._inside[user] += 1
            ticket.set_result(None)

    def _leave(self, user: str, ticket: asyncio.Future[None]) -> None:
        """Leave, from wherever it had come to."""
        if (user, ticket) in self._waiting:
            self._waiting.remove((user, ticket))
        else:
            self._inside[user] -= 1
            self._inside += Counter()  # drops those who have none
        self._admit()

    def _busy(self) -> Unavailable:
        return Unavailable(
            "tool_server_busy",
            f"The tool server {self._server} has too many calls; try again in a moment.",
            retry_after_seconds=1.0,
        )
