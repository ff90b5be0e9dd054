"""A transport for other libraries' HTTP clients: what they ask for goes to a checked address."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import httpx2

from tidings.domain.errors import Failure
from tidings.egress.addresses import Address, Destination
from tidings.egress.http import CONNECT_SECONDS, Egress

ANSWER_BYTES_MAX = 4 << 20


class AnswerTooLarge(httpx2.StreamError):
    """An answer has more than ANSWER_BYTES_MAX bytes."""

    def __init__(self) -> None:
        super().__init__(f"The answer has over {ANSWER_BYTES_MAX:,} bytes.")


class PinnedTransport(httpx2.AsyncBaseTransport):
    """Sends every request where `egress` lets it go; reads ANSWER_BYTES_MAX of an answer at most.

    The name is looked up for each request, and the address that was checked is the one called. A
    redirect is a failure. Answers are not compressed: what is counted is what is read.

    Raises:
        TidingsError: `url_blocked` or `url_unreachable`, as `Egress` does.
        AnswerTooLarge: while the answer is read.
    """

    def __init__(self, egress: Egress) -> None:
        self._egress = egress
        self._inner = httpx2.AsyncHTTPTransport(
            verify=egress.tls, trust_env=False, limits=httpx2.Limits(max_keepalive_connections=0)
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        to = self._egress.check(str(request.url))
        answer = await self._egress.call(to, partial(self._sent, request, to))
        if answer.has_redirect_location:
            await answer.aclose()
            raise Failure("url_blocked", "The server does not follow redirects.")
        if answer.headers.get("content-encoding", "identity") != "identity":
            await answer.aclose()
            raise Failure("url_blocked", "The answer is compressed, which was not asked for.")
        assert isinstance(answer.stream, httpx2.AsyncByteStream)  # noqa: S101 - it is asynchronous
        return httpx2.Response(
            answer.status_code,
            headers=answer.headers,
            stream=_Bounded(answer.stream),
            extensions=answer.extensions,
        )

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _sent(
        self, request: httpx2.Request, to: Destination, address: Address
    ) -> httpx2.Response:
        return await self._inner.handle_async_request(_to(request, to, address))


@asynccontextmanager
async def pinned_client(
    transport: httpx2.AsyncBaseTransport, headers: dict[str, str], seconds: float
) -> AsyncIterator[httpx2.AsyncClient]:
    """Make requests within the block; `seconds` may pass between two pieces of an answer."""
    async with httpx2.AsyncClient(
        transport=transport,
        headers=headers | {"accept-encoding": "identity"},
        trust_env=False,
        follow_redirects=False,
        timeout=httpx2.Timeout(seconds, connect=CONNECT_SECONDS),
    ) as client:
        yield client


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = ANSWER_BYTES_MAX
        async for piece in self._inner:
            left -= len(piece)
            if left < 0:
                raise AnswerTooLarge
            yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()


def _to(request: httpx2.Request, to: Destination, address: Address) -> httpx2.Request:
    """Return the request as it goes to one address in the name of its host."""
    headers = httpx2.Headers(request.headers)
    headers["host"] = to.authority
    return httpx2.Request(
        request.method,
        request.url.copy_with(host=str(address)),
        headers=headers,
        stream=request.stream,
        extensions=request.extensions | {"sni_hostname": to.host},
    )
