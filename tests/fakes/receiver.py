"""A receiver of webhooks on a real socket, that answers by a script, well or badly."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BROKEN = b"HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n"
GONE = b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n"
HUGE = b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n"
NOT_HTTP = b"SSH-2.0-OpenSSH_9.9\r\n\r\n"
SILENT = b""
"""Takes the request and never answers."""


def redirect(to: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n".encode()


@dataclass(frozen=True)
class Received:
    """A request, as it came; names of headers in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Gives its answers in order, the last one for ever, and keeps what it was sent.

    `drip` sends the answer a byte at a time, so long apart, which nobody should wait for.
    """

    answers: list[bytes] = field(default_factory=lambda: [GOOD])
    drip: float = 0.0
    host: str = ""
    connections: int = 0
    sent_bytes: int = 0
    received: list[Received] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://{self.host}/hook"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:])}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.received.append(Received(head[0], headers, body))
        self.arrived.set()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer == SILENT:
            await reader.read()  # until the other side gives up
        for piece in [bytes([byte]) for byte in answer] if self.drip else [answer]:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(self.drip)
        while answer == HUGE:
            writer.write(b"x" * 65536)
            self.sent_bytes += 65536
            await writer.drain()

    async def until(self, count: int) -> None:
        """Wait until so many requests have come."""
        while len(self.received) < count:
            self.arrived.clear()
            await self.arrived.wait()


@asynccontextmanager
async def receiving(
    *answers: bytes, drip: float = 0.0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Receiver]:
    """Serve on a free port of the loopback interface."""
    receiver = Receiver(list(answers) or [GOOD], drip)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=tls)
    receiver.host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield receiver
