"""A client that costs little, so that the server is what is measured: it cuts and counts."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast

ACK_EVENTS = 64
EVENT = b'"event_id":"'
OFFSET = b'"offset":'
_UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)

OnMessage = Callable[["Wire", bytes], None]


class Wire(asyncio.Protocol):
    """One WebSocket; `on_message` gets every message's bytes, `on_end` the reason of the end."""

    def __init__(
        self, on_message: OnMessage, on_end: Callable[[bytes], None], path: str = "/ws"
    ) -> None:
        self.on_message = on_message
        self.on_end = on_end
        self._path = path
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass
        self._transport.write(_UPGRADE.format(path=self._path).encode())

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(ConnectionError("no upgrade"))
        self.on_end(b"")

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        start = 0
        if not self.opened.done():
            start = buffer.find(b"\r\n\r\n") + 4
            if start < 4:
                self._buffer = buffer
                return
            self.opened.set_result(None)
        self._buffer = buffer[self._cut(buffer, start) :]

    def send(self, frame: dict[str, Any]) -> None:
        """Send a frame."""
        self.send_text(json.dumps(frame).encode())

    def send_text(self, body: bytes) -> None:
        """Send a message, masked as clients must, by a mask that costs nothing."""
        size = len(body)
        head = bytes((0x81, 0x80 | size)) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
        self._transport.write(head + b"\0\0\0\0" + body)

    def close(self) -> None:
        self._transport.abort()

    def _cut(self, buffer: bytes, start: int) -> int:
        """Pass on every complete message; return where the incomplete one begins."""
        end = len(buffer)
        while end - start >= 2:
            size, body = buffer[start + 1], start + 2
            if size == 126:
                size, body = int.from_bytes(buffer[start + 2 : start + 4], "big"), start + 4
            elif size == 127:
                size, body = int.from_bytes(buffer[start + 2 : start + 10], "big"), start + 10
            if end < body + size:
                break
            if buffer[start] & 0x0F == 8:
                self.on_end(buffer[body + 2 : body + size])
            else:
                self.on_message(self, buffer[body : body + size])
            start = body + size
        return start


class Reader:
    """Follows streams as the protocol asks: counts events and acknowledges what it has counted."""

    def __init__(self) -> None:
        self.events = 0
        self.acknowledged = 0
        self.on_events: Callable[[bytes, int], None] = lambda _message, _count: None
        self.greeted: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.on_live: Callable[[], None] = lambda: None
        self._offset = 0
        self._stream = ""
        self.wire = Wire(self._take, self._end)

    async def connect(
        self, url: str, token: str, stream: str | None = None, cursor: str = "0"
    ) -> None:
        """Connect and say hello; return when greeted.

        Raises:
            ConnectionRefusedError: not now, and not before so many milliseconds have passed.
        """
        host, port = url.removeprefix("http://").split(":")
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self.wire, host, int(port))
        await self.wire.opened
        subscribe = [{"stream": stream, "cursor": cursor}] if stream else []
        self.follow(stream or "")
        device = f"d{id(self)}"
        self.wire.send({"type": "hello", "token": token, "device": device, "subscribe": subscribe})
        await self.greeted

    def follow(self, stream: str) -> None:
        """Take note of the stream that acknowledgements name."""
        self._stream = stream

    def acknowledge(self) -> None:
        """Acknowledge what has arrived, if anything has."""
        if self.events > self.acknowledged and self._stream:
            self.acknowledged = self.events
            self.wire.send({"type": "ack", "positions": {self._stream: self._offset}})

    def _take(self, wire: Wire, message: bytes) -> None:
        count = message.count(EVENT)
        if count:
            self.events += count
            at = message.rfind(OFFSET) + len(OFFSET)
            self._offset = int(message[at : message.index(b",", at)])
            self.on_events(message, count)
            if self.events - self.acknowledged >= ACK_EVENTS:
                self.acknowledge()
        elif message.startswith(b'{"type":"connection_established"'):
            self.greeted.set_result(message)
        elif message.startswith(b'{"type":"live"'):
            self.on_live()
        elif message.startswith(b'{"type":"ping"'):
            wire.send({"type": "pong"})
        else:
            self.on_other(message)

    def _end(self, reason: bytes) -> None:
        """Take the end of the connection; before the greeting it is a refusal."""
        if not self.greeted.done():
            _, _, wait_ms = reason.partition(b"retry_after_ms=")
            self.greeted.set_exception(ConnectionRefusedError(int(wait_ms or 0)))

    def on_other(self, message: bytes) -> None:
        """Take any other frame."""
        if message.startswith(b'{"type":"error"'):
            raise RuntimeError(message.decode())
