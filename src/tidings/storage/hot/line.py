"""The line to the server of the hot tier: one connection, which one task alone touches.

Who asks hands over a question and waits for a future. To stop waiting changes nothing on the
connection, so that no answer can ever reach another than the one who asked for it. What waits
goes out together.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ReadOnlyError, ResponseError

from tidings.domain.errors import Unavailable
from tidings.domain.ports import Clock
from tidings.resilience.breaker import Breaker, BreakerRules, BreakerState, Passage
from tidings.storage.hot.address import Address, cut
from tidings.storage.hot.faults import FAULTS, READ_ONLY, said

OPERATION_SECONDS = 0.2
QUESTIONS_MAX = 10_000
REMARKS_MAX = 10_000
REMARKS_BYTES_MAX = 8 * 1024 * 1024
BATCH_COMMANDS_MAX = 256
BATCH_BYTES_MAX = 1024 * 1024
HOT_BREAKER = BreakerRules(
    window_seconds=10.0,
    calls_min=2,
    open_seconds=0.5,
    open_seconds_max=2.0,
    probe_seconds_max=3.0,
)
"""Two failures close the tier to questions; it is looked at again after half a second, then two."""

Word = bytes | str | int | float


@dataclass(frozen=True, slots=True)
class _Command:
    words: tuple[Word, ...]
    answer: asyncio.Future[Any] | None = None

    @property
    def size(self) -> int:
        return sum(len(word) for word in self.words if isinstance(word, bytes))


class Line:
    """Asks and tells one server.

    `dropped` is called for each remark that is lost; `fault` says what went wrong last, for the
    operator, and is empty while all is well.
    """

    def __init__(self, address: Address, clock: Clock, dropped: Callable[[], None]) -> None:
        self.fault = ""
        self._dropped = dropped
        self._address = address
        self._clock = clock
        self._breaker = Breaker(HOT_BREAKER)
        self._questions: deque[_Command] = deque()
        self._remarks: deque[_Command] = deque()
        self._remark_bytes = 0
        self._waiting = asyncio.Event()
        self._connection: AbstractConnection | None = None

    @property
    def state(self) -> BreakerState:
        """Whether the server is asked now."""
        return self._breaker.state(self._clock.monotonic())

    async def ask(self, *words: Word) -> Any:
        """Return the server's answer to a command, within OPERATION_SECONDS.

        Raises:
            Unavailable: `hot_tier_away`: it did not answer, or said no. It may still have done it.
        """
        if self.state is BreakerState.OPEN or len(self._questions) >= QUESTIONS_MAX:
            raise _away()
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._questions.append(_Command(words, answer))
        self._waiting.set()
        try:
            async with asyncio.timeout(OPERATION_SECONDS):
                return await answer
        except TimeoutError:
            raise _away() from None

    def say(self, *words: bytes) -> None:
        """Send a command whose answer nobody needs. Never waits; the oldest are dropped first."""
        remark = _Command(words)
        self._remarks.append(remark)
        self._remark_bytes += remark.size
        while len(self._remarks) > REMARKS_MAX or self._remark_bytes > REMARKS_BYTES_MAX:
            self._remark_bytes -= self._remarks.popleft().size
            self._dropped()
        self._waiting.set()

    async def run(self) -> None:
        """Carry what is asked and said, for ever."""
        try:
            while True:
                await self._waiting.wait()
                if batch := self._next_batch():
                    await self._carry(batch)
        finally:
            await self._hang_up()

    def _next_batch(self) -> list[_Command]:
        """Return what goes out together: questions first, but for those that nobody waits for."""
        batch: list[_Command] = []
        while self._questions and len(batch) < BATCH_COMMANDS_MAX:
            question = self._questions.popleft()
            if question.answer is not None and not question.answer.done():
                batch.append(question)
        size = 0
        while self._remarks and len(batch) < BATCH_COMMANDS_MAX and size < BATCH_BYTES_MAX:
            remark = self._remarks.popleft()
            size += remark.size
            batch.append(remark)
        self._remark_bytes -= size
        if not self._questions and not self._remarks:
            self._waiting.clear()
        return batch

    async def _carry(self, batch: list[_Command]) -> None:
        passage = self._breaker.admit(self._clock.monotonic())
        if passage is Passage.REFUSED:
            self._fail(batch)
            return
        try:
            answers = await self._exchange(batch)
        except FAULTS as fault:
            self.fault = said(fault)
            self._breaker.failed(self._clock.monotonic(), passage)
            await self._hang_up()
            self._fail(batch)
        except asyncio.CancelledError:
            self._fail(batch)
            raise
        else:
            self._breaker.succeeded(self._clock.monotonic(), passage)
            self._answer(batch, answers)

    async def _exchange(self, batch: list[_Command]) -> list[Any]:
        """Send everything, then read as many answers; a refusal is an answer."""
        if self._connection is None:
            self._connection = await self._address.connect()
        connection, packed = self._connection, [command.words for command in batch]
        async with asyncio.timeout(OPERATION_SECONDS):
            await connection.send_packed_command(connection.pack_commands(packed))
            return [await _answer(connection) for _ in batch]

    def _answer(self, batch: list[_Command], answers: list[Any]) -> None:
        refusals = [answer for answer in answers if isinstance(answer, ResponseError)]
        self.fault = said(refusals[0]) if refusals else ""
        for command, answer in zip(batch, answers, strict=True):
            if isinstance(answer, ResponseError):
                self._fail([command])
            elif command.answer is not None and not command.answer.done():
                command.answer.set_result(answer)

    def _fail(self, batch: list[_Command]) -> None:
        for command in batch:
            if command.answer is None:
                self._dropped()
            elif not command.answer.done():
                command.answer.set_exception(_away())

    async def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await cut(connection)


async def _answer(connection: AbstractConnection) -> Any:
    """Return one answer; a server that may not be written to is not the one to speak to."""
    try:
        return await connection.read_response()
    except ReadOnlyError:
        raise
    except ResponseError as refusal:
        if READ_ONLY in str(refusal):
            raise ReadOnlyError from refusal
        return refusal


def _away() -> Unavailable:
    return Unavailable("hot_tier_away", "The hot tier does not answer; go on without it.")
