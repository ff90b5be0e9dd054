"""A wave of users: each asks from one device, all of its devices follow, and all keep a history."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.harness.programs.thinking import THOUGHTS
from tests.harness.server import ServerProcess, add_users
from tests.harness.stored import stored_streams
from tests.invariants import History, check
from tests.stores import rows_of
from tidings.client.session import Session, always
from tidings.domain.commands import StartAgent, StartPayload
from tidings.domain.events import CRITICAL, TERMINAL, thread_stream

USERS = 8
DEVICES = 2
THREADS = 4
CRITICAL_OF_A_WAVE = USERS * THREADS * THOUGHTS
SECONDS_MAX = 240.0
LOOK_SECONDS = 0.1


class Hurried(random.Random):
    """Comes back sooner than a client should: a soak has no time for half a minute's pause."""

    def uniform(self, a: float, b: float) -> float:
        return super().uniform(a, min(b, 0.7))


class Participant:
    """One device with the product's client."""

    def __init__(self, session: Session, history: History) -> None:
        self.session = session
        self.history = history
        self.applied = 0
        self.critical = 0
        self.ended: set[str] = set()

    async def listen(self) -> None:
        async for applied in self.session.events():
            event = applied.event
            self.history.applied(event.stream, applied.raw)
            self.applied += 1
            self.critical += event.type in CRITICAL
            if event.type in TERMINAL and event.run_id:
                self.ended.add(event.run_id)

    def cut(self) -> bool:
        """Reset the connection, if there is one."""
        socket = self.session._socket
        if socket is not None:
            socket.transport.abort()
        return socket is not None

    async def stall(self, seconds: float) -> bool:
        """Take nothing from the socket for a while."""
        socket = self.session._socket
        if socket is None:
            return False
        socket.transport.pause_reading()
        await asyncio.sleep(seconds)
        if not socket.transport.is_closing():
            socket.transport.resume_reading()
        return True


class Wave:
    """What one set of users does, from their accounts to the check of all they were shown."""

    def __init__(self, server: ServerProcess, number: int, rng: random.Random) -> None:
        self.participants: list[Participant] = []
        self._server = server
        self._number = number
        self._rng = rng

    @property
    def underway(self) -> bool:
        """Whether every device has found the server: a client gives up one it never saw."""
        all_there = len(self.participants) == USERS * DEVICES
        return all_there and all(p.session._known for p in self.participants)

    @property
    def applied(self) -> int:
        return sum(p.applied for p in self.participants)

    @property
    def critical(self) -> int:
        return sum(p.critical for p in self.participants)

    @property
    def duplicates(self) -> int:
        """How many events came to a device again and were dropped, as the rules say."""
        return sum(p.session.core.duplicates for p in self.participants)

    async def run(self) -> None:
        """Have every run asked for, worked on, and applied by every device; then check."""
        names = [f"wave{self._number}.{user}" for user in range(USERS)]
        users = await add_users(self._server, *names)
        ids = user_ids(self._server.data_dir, names)
        async with asyncio.timeout(SECONDS_MAX), asyncio.TaskGroup() as tasks:
            for user_id, user in zip(ids, users, strict=True):
                tasks.create_task(self._live(user_id, user.token))
        log = stored_streams(self._server.data_dir, users=ids)
        check(log, [p.history for p in self.participants], at_head=True, ended=True, proven=True)
        assert not any(p.session.core.mismatches for p in self.participants)
        assert self.critical >= DEVICES * CRITICAL_OF_A_WAVE, "a run did not come to its end"

    async def _live(self, user_id: str, token: str) -> None:
        async with AsyncExitStack() as stack:
            first, *others = [
                await stack.enter_async_context(self._device(user_id, token, f"d{number}"))
                for number in range(DEVICES)
            ]
            runs: set[str] = set()
            for number in range(THREADS):
                command = StartAgent(f"c{number}", StartPayload("think", "thinking"))
                receipt = await first.session.send(command)
                runs.add(receipt.run_id)
                for other in others:
                    await other.session.follow(thread_stream(receipt.thread_id))
            while not all(runs <= p.ended for p in (first, *others)):  # noqa: ASYNC110 - cheap
                await asyncio.sleep(LOOK_SECONDS)

    @asynccontextmanager
    async def _device(self, user_id: str, token: str, name: str) -> AsyncIterator[Participant]:
        rng = Hurried(self._rng.random())
        async with Session(self._server.url, always(token), name, rng) as session:
            participant = Participant(session, History(user_id, name))
            self.participants.append(participant)
            async with asyncio.TaskGroup() as tasks:
                listening = tasks.create_task(participant.listen())
                try:
                    yield participant
                finally:
                    listening.cancel()


def user_ids(data_dir: Path, names: list[str]) -> list[str]:
    """Return whose ids these names have."""
    known: dict[str, str] = dict(rows_of(data_dir, "select name, user_id from users"))
    return [known[name] for name in names]
