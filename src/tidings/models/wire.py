"""The HTTP client that providers are spoken to with: everything that comes back is bounded."""

import re
import ssl
from collections.abc import AsyncIterator
from functools import cache
from itertools import pairwise

import httpx2

from tidings.models.patience import TIME_LIMITS, beat

REPLY_BYTES_MAX = 8 * 1024 * 1024
EVENT_BYTES_MAX = 1024 * 1024
ERROR_BYTES_MAX = 64 * 1024
CONNECTIONS_MAX = 128

_SUCCESS = range(200, 300)
_ERRORS = range(400, 600)
_EVENTS = "text/event-stream"
_EMPTY_LINE = re.compile(rb"\n\n|\r\n\r\n|\r\r")


class UnfitReply(httpx2.RemoteProtocolError):
    """What came back is no reply; the message says why, and repeats none of it."""


class EventSizes:
    """Measures the events of a stream, which empty lines part."""

    def __init__(self) -> None:
        self._open = 0
        self._tail = b""

    def longest(self, chunk: bytes) -> int:
        """Return how long the longest event of this chunk has become."""
        ends = [end.end() - len(self._tail) for end in _EMPTY_LINE.finditer(self._tail + chunk)]
        bounds = [-self._open, *ends, len(chunk)]
        self._open = len(chunk) - bounds[-2]
        self._tail = b"" if ends and ends[-1] == len(chunk) else (self._tail + chunk)[-3:]
        return max(after - before for before, after in pairwise(bounds))


class BoundedReply(httpx2.AsyncByteStream):
    """A reply's bytes as they come: each is a sign of life, too many of them are a fault."""

    def __init__(self, inner: httpx2.AsyncByteStream, *, is_error: bool) -> None:
        self._inner = inner
        self._is_error = is_error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the bytes.

        An error's body ends at its bound: its status says enough.

        Raises:
            UnfitReply: the reply or an event of it is too long.
        """
        size, events = 0, EventSizes()
        async for chunk in self._inner:
            beat()
            size += len(chunk)
            if self._is_error and size > ERROR_BYTES_MAX:
                return
            if size > REPLY_BYTES_MAX or events.longest(chunk) > EVENT_BYTES_MAX:
                raise UnfitReply("sent a reply beyond all bounds")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


def client(transport: httpx2.AsyncBaseTransport | None = None) -> httpx2.AsyncClient:
    """Return a client without redirects, whose replies are event streams, uncompressed and bounded.

    Its only time limit of its own is for connecting: the rest has one clock (`patience`), so what
    the providers' libraries set is taken off. `transport` stands in for the network.
    """
    return httpx2.AsyncClient(
        transport=transport,
        verify=_trust(),
        follow_redirects=False,
        timeout=httpx2.Timeout(None, connect=TIME_LIMITS.connect),
        limits=httpx2.Limits(max_connections=CONNECTIONS_MAX),
        event_hooks={"request": [_prepare], "response": [_guard]},
    )


@cache
def _trust() -> ssl.SSLContext:
    """Return the certificates that are trusted; reading them takes a tenth of a second."""
    return httpx2.create_ssl_context()


async def _prepare(request: httpx2.Request) -> None:
    request.headers["accept-encoding"] = "identity"
    request.extensions["timeout"] = {
        "connect": TIME_LIMITS.connect,
        "pool": TIME_LIMITS.connect,
        "read": None,
        "write": None,
    }


async def _guard(response: httpx2.Response) -> None:
    """Refuse what is no event stream; let errors through for the provider's library to read."""
    beat()
    is_error = response.status_code in _ERRORS
    if not is_error and (why := _unfit(response)):
        await response.aclose()
        raise UnfitReply(why)
    assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101 - of an async client
    response.stream = BoundedReply(response.stream, is_error=is_error)


def _unfit(response: httpx2.Response) -> str:
    if response.status_code not in _SUCCESS:
        return "sent no reply, but a redirect or the like"
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _EVENTS:
        return "sent something that is no stream of events"
    if response.headers.get("content-encoding", "identity") != "identity":
        return "sent a compressed reply that was not asked for"
    return ""
