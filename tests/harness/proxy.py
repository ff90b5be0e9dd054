"""A TCP proxy that spoils connections in the ways networks do; switchable while it runs."""

import asyncio
import random
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

READ_BYTES = 16 * 1024
BUFFER_BYTES = 8 * 1024
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, for 0 s: closing sends RST instead of FIN and drops what is unsent."""


@dataclass(slots=True)
class Direction:
    """What is done to the bytes that flow one way.

    `latency` and `jitter` are seconds before each write, `piece` the most bytes in one write,
    `bytes_per_second` a limit on them, `reset_after` so many bytes more and both ends get an RST.
    """

    latency: float = 0.0
    jitter: float = 0.0
    piece: int = READ_BYTES
    bytes_per_second: float | None = None
    reset_after: int | None = None
    carried: int = 0
    _open: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._open.set()

    def block(self) -> None:
        """Let nothing through any more, not even the end of the connection, until `unblock`."""
        self._open.clear()

    def unblock(self) -> None:
        self._open.set()

    async def passage(self) -> None:
        """Wait until something may pass."""
        await self._open.wait()

    def take(self, data: bytes) -> list[bytes]:
        """Cut what is to be written into pieces, as far as the connection will live."""
        if self.reset_after is not None:
            data = data[: self.reset_after]
            self.reset_after -= len(data)
        self.carried += len(data)
        return [data[i : i + self.piece] for i in range(0, len(data), self.piece)]

    def pause(self, size: int, rng: random.Random) -> float:
        """Return how many seconds to wait before so many bytes are written."""
        delay = self.latency + (rng.uniform(0, self.jitter) if self.jitter else 0.0)
        return delay + (size / self.bytes_per_second if self.bytes_per_second else 0.0)


class FaultProxy:
    """Carries connections to a port, the `target`. `up` is towards it, `down` the other way."""

    def __init__(self, port: int, rng: random.Random) -> None:
        self.up = Direction()
        self.down = Direction()
        self.refusing = False
        self.accepted = 0
        self.port = 0
        self.target = port
        self._rng = rng
        self._links: set[Link] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def open(self) -> int:
        """How many connections it carries."""
        return len(self._links)

    def calm(self) -> None:
        """Spoil nothing any more."""
        for direction in (self.up, self.down):
            direction.latency = direction.jitter = 0.0
            direction.piece, direction.bytes_per_second = READ_BYTES, None
            direction.reset_after = None
            direction.unblock()
        self.refusing = False

    def cut(self) -> int:
        """Reset every connection; return how many."""
        cut = list(self._links)
        for link in cut:
            link.reset()
        return len(cut)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection from its accept to its end."""
        self.accepted += 1
        if self.refusing:
            _abort(writer)
            return
        try:
            there = await asyncio.open_connection(sock=await _connected(self.target))
        except OSError:
            _abort(writer)
            return
        link = Link((reader, writer), there)
        self._links.add(link)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._flow(link, reader, there[1], self.up))
                tasks.create_task(self._flow(link, there[0], writer, self.down))
        except* (OSError, asyncio.IncompleteReadError):
            link.reset()
        finally:
            self._links.discard(link)
            link.close()

    async def _flow(
        self,
        link: "Link",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        direction: Direction,
    ) -> None:
        while data := await reader.read(READ_BYTES):
            await direction.passage()
            for piece in direction.take(data):
                if pause := direction.pause(len(piece), self._rng):
                    await asyncio.sleep(pause)
                if writer.is_closing():
                    raise ConnectionResetError("the other end is closed")
                writer.write(piece)
                await writer.drain()
                await direction.passage()
            if direction.reset_after == 0:
                direction.reset_after = None
                link.reset()
        await direction.passage()
        if writer.can_write_eof():
            writer.write_eof()
        else:  # encrypted: there is no closing of one way
            writer.close()


class Link:
    """Two ends that belong together."""

    def __init__(
        self,
        near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._ends = (near, far)
        for _, writer in self._ends:
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            writer.transport.set_write_buffer_limits(BUFFER_BYTES)

    def reset(self) -> None:
        """Send an RST both ways; whoever reads or writes here is told."""
        for reader, writer in self._ends:
            _abort(writer)
            if not reader.at_eof():
                reader.set_exception(ConnectionResetError("cut by the proxy"))

    def close(self) -> None:
        for _, writer in self._ends:
            writer.close()


@asynccontextmanager
async def proxying(
    port: int, seed: int = 1, encrypted: ssl.SSLContext | None = None
) -> AsyncIterator[FaultProxy]:
    """Have a proxy to a port of this machine around the block; its own port is `proxy.port`.

    Those who come to it may have to come `encrypted`.
    """
    proxy = FaultProxy(port, random.Random(seed))
    listening = _socket()
    listening.bind(("127.0.0.1", 0))
    server = await asyncio.start_server(
        proxy.carry, sock=listening, limit=BUFFER_BYTES, ssl=encrypted
    )
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.calm()
        proxy.cut()


async def _connected(port: int) -> socket.socket:
    target = _socket()
    target.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(target, ("127.0.0.1", port))
    except OSError:
        target.close()
        raise
    return target


def _socket() -> socket.socket:
    """Return a socket that buffers little: what stops at one end is soon felt at the other."""
    made = socket.socket()
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        made.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
    return made


def _abort(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, AttributeError, ValueError):  # one that has ended may have no socket
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
