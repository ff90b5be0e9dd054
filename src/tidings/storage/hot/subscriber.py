"""The ear at the server of the hot tier: a connection that is subscribed to what is attended to."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress

from redis.asyncio.connection import AbstractConnection

from tidings.storage.hot.address import Address, cut
from tidings.storage.hot.faults import FAULTS, said

PING_SECONDS = 1.0
SILENCE_SECONDS = 3.0
"""A server that has not even answered a ping for so long is not listened to any more."""
CHANNELS_PER_COMMAND_MAX = 1_000
RECONNECT_SECONDS = 0.1
RECONNECT_SECONDS_MAX = 1.0

_MESSAGE_PARTS = 3


class Subscriber:
    """Stays subscribed, over whatever happens to its connection.

    `heard` is told the channel and the bytes of every message; `resumed` is called when, after a
    time in which messages may have been missed, everything wanted is subscribed to again. `fault`
    says why nothing is heard, and is empty while all is well.
    """

    def __init__(
        self,
        address: Address,
        heard: Callable[[bytes, bytes], None],
        resumed: Callable[[], None],
        rng: random.Random,
    ) -> None:
        self.connected = False
        self.fault = ""
        self._address = address
        self._heard = heard
        self._resumed = resumed
        self._rng = rng
        self._wanted: set[bytes] = set()
        self._changed: set[bytes] = set()
        self._news = asyncio.Event()

    def want(self, channel: bytes) -> None:
        """Hear this channel from now on, as soon as may be."""
        self._wanted.add(channel)
        self._changed.add(channel)
        self._news.set()

    def unwant(self, channel: bytes) -> None:
        """Stop hearing this channel."""
        self._wanted.discard(channel)
        self._changed.add(channel)
        self._news.set()

    async def run(self) -> None:
        """Listen, for ever."""
        pause = RECONNECT_SECONDS
        while True:
            try:
                await self._listen()
            except* FAULTS as faults:
                self.fault = said(_first(faults))
                pause = RECONNECT_SECONDS if self.connected else pause * 2
            self.connected = False
            pause = min(pause, RECONNECT_SECONDS_MAX)
            await asyncio.sleep(self._rng.uniform(pause / 2, pause))

    async def _listen(self) -> None:
        connection = await self._address.connect()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(connection))
                tasks.create_task(self._write(connection))
        finally:
            await cut(connection)

    async def _write(self, connection: AbstractConnection) -> None:
        """Subscribe to what is wanted, then follow its changes; a ping each second."""
        subscribed: set[bytes] = set()
        self._changed = set(self._wanted)
        while True:
            changed, self._changed = self._changed, set()
            self._news.clear()
            fresh = [name for name in changed if name in self._wanted and name not in subscribed]
            stale = [name for name in changed if name not in self._wanted and name in subscribed]
            commands = [*_cut(b"SUBSCRIBE", fresh), *_cut(b"UNSUBSCRIBE", stale), (b"PING",)]
            async with asyncio.timeout(SILENCE_SECONDS):
                await connection.send_packed_command(connection.pack_commands(commands))
            subscribed.update(fresh)
            subscribed.difference_update(stale)
            with suppress(TimeoutError):
                async with asyncio.timeout(PING_SECONDS):
                    await self._news.wait()

    async def _read(self, connection: AbstractConnection) -> None:
        """Pass on what is said; the first pong follows the first subscriptions."""
        while True:
            async with asyncio.timeout(SILENCE_SECONDS):
                word = await connection.read_response()
            if not isinstance(word, list) or word[0] == b"pong":
                self._awake()
            elif word[0] == b"message" and len(word) == _MESSAGE_PARTS:
                self._heard(word[1], word[2])

    def _awake(self) -> None:
        if not self.connected:
            self.connected = True
            self.fault = ""
            self._resumed()


def _cut(word: bytes, channels: list[bytes]) -> list[tuple[bytes, ...]]:
    """Return commands about a bounded number of channels each."""
    starts = range(0, len(channels), CHANNELS_PER_COMMAND_MAX)
    return [(word, *channels[start : start + CHANNELS_PER_COMMAND_MAX]) for start in starts]


def _first(faults: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the one that ended the others."""
    first: BaseException = faults
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
