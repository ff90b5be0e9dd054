"""HTTP and WebSockets as they are spoken on the wire: the server's own, with bounds on both."""

import asyncio
import codecs
import logging
import struct
from asyncio import TimerHandle
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from tidings.gateway.outlet import EXTENSION, OUTLET
from tidings.protocol.closing import Close
from tidings.protocol.connection import SEND_SECONDS_MAX

HEAD_SECONDS = 5.0
HEAD_BYTES_MAX = 64 * 1024
FRAGMENT_BYTES_MEAN_MIN = 16
CLOSING_SECONDS = 5.0
PINGS_PER_SECOND_MAX = 100
WHOLE_TEXT, SHORT_BYTES_MAX, MEDIUM_BYTES_MAX = 0x81, 125, 0xFFFF

_log = logging.getLogger("uvicorn.error")


class BoundedHttp(HttpToolsProtocol):
    """A request's line and headers come within HEAD_SECONDS and HEAD_BYTES_MAX, or not at all.

    A client that takes nothing of an answer for `send_seconds` is not waited for.
    """

    send_seconds = SEND_SECONDS_MAX
    _unread_timer: TimerHandle | None = None
    _head_bytes = 0
    _head_timer: TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_timer is None:
            return  # the head has come
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread_timer = self.loop.call_later(self.send_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._was_read()

    def _was_read(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        self._was_read()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        self._head_came()
        super().on_headers_complete()

    def _should_upgrade(self) -> bool:
        return self.parser.get_http_version() == "1.1" and super()._should_upgrade()

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _head_came(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """Takes its frames from `BoundedFrames`; a client that does not read is not waited for.

    It is an `Outlet`, which an application finds among the extensions of its scope.
    """

    _last_wait: TimerHandle | None = None
    _pings = 0
    _pings_since = 0.0

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any]
    ) -> None:
        super().__init__(config, server_state, app_state)
        self.conn = BoundedFrames(extensions=[], max_size=config.ws_max_size, logger=_log)
        self.close_timeout = CLOSING_SECONDS

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):
            extensions = self.scope["extensions"]
            assert extensions is not None  # noqa: S101 - uvicorn has given it some
            extensions[EXTENSION] = {OUTLET: self}

    def write(self, message: bytes) -> None:
        """Send a text message, without waiting: see `writable`.

        Raises:
            ClientDisconnected: the connection is over.
        """
        if self.disconnected or self.close_sent or self.transport.is_closing():
            raise ClientDisconnected
        self.transport.write(_text_head(len(message)) + message)

    def handle_ping(self) -> None:
        """Answer; but not a flood, nor a client that does not read what it is sent."""
        now = self.loop.time()
        if now - self._pings_since >= 1:
            self._pings, self._pings_since = 0, now
        self._pings += 1
        if self._pings > PINGS_PER_SECOND_MAX:
            self.conn.fail(Close.ABUSE, "too many pings")
            self.handle_parser_exception()
        elif self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """Give what is unsent a last moment: closing alone waits for it, for ever."""
        super().on_task_complete(task)
        if not self.disconnected:
            self._last_wait = self.loop.call_later(CLOSING_SECONDS, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._last_wait is not None:
            self._last_wait.cancel()
        super().connection_lost(exc)


class BoundedFrames(ServerProtocol):
    """RFC 6455 with no more fragments than a message may sensibly have.

    Bad UTF-8 is refused in the fragment it comes in. A client may close in mid-message.
    """

    _fragments = 0
    _text: codecs.IncrementalDecoder | None = None

    def recv_frame(self, frame: Frame) -> None:
        match frame.opcode:
            case Opcode.CLOSE:
                self.current_size = None
            case Opcode.TEXT | Opcode.BINARY if self.current_size is None:
                self._fragments = 0
                self._text = _utf8() if frame.opcode is Opcode.TEXT else None
                self._check(frame)
            case Opcode.CONT:
                self._check(frame)
            case _:
                pass
        super().recv_frame(frame)

    def _check(self, frame: Frame) -> None:
        self._fragments += 1
        longest = self.max_message_size or 0
        if self._fragments * FRAGMENT_BYTES_MEAN_MIN > longest:
            raise PayloadTooBig(None, longest)
        if self._text is not None:
            self._text.decode(frame.data, final=frame.fin)


def _text_head(size: int) -> bytes:
    """Return what precedes a whole text message of so many bytes from a server: RFC 6455, 5.2."""
    if size <= SHORT_BYTES_MAX:
        return struct.pack("!BB", WHOLE_TEXT, size)
    if size <= MEDIUM_BYTES_MAX:
        return struct.pack("!BBH", WHOLE_TEXT, 126, size)
    return struct.pack("!BBQ", WHOLE_TEXT, 127, size)


def _utf8() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")()
