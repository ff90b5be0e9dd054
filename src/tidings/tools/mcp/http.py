"""A tool server at an address: the library's HTTP, over the guard that all ways out have."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import msgspec
from mcp.client.streamable_http import streamable_http_client

from tidings.domain.errors import Failure, TidingsError
from tidings.egress.http import Egress
from tidings.egress.pinned import AnswerTooLarge, PinnedTransport, pinned_client
from tidings.tools.mcp.stdio import ConnectionEnd

REFUSED = -32_099
"""The JSON-RPC code under which the guard's own refusals reach the caller, and their codes."""

REFUSALS = frozenset(
    {"url_blocked", "url_unreachable", "tool_result_too_large", "tool_timeout", "tool_server_lost"}
)

_log = logging.getLogger(__name__)


@asynccontextmanager
async def address(
    url: str, headers: dict[str, str], egress: Egress, seconds: float, ending: ConnectionEnd
) -> AsyncIterator[tuple[Any, Any]]:
    """Speak with a server at an address within the block.

    What the guard refuses is told to the one request that it concerns, as an error in JSON-RPC.
    """
    transport = Refusing(PinnedTransport(egress))
    async with (
        pinned_client(transport, headers, seconds) as client,
        streamable_http_client(url, http_client=client, max_sse_event_size=None) as streams,
    ):
        yield streams
    ending.end()


class Refusing(httpx2.AsyncBaseTransport):
    """Answers in the server's place where no answer of its may be read."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            answer = await self._inner.handle_async_request(request)
            if "application/json" in answer.headers.get("content-type", ""):
                return await _read(answer)
        except TidingsError as error:
            return _refusal(error)
        except AnswerTooLarge:
            return _refusal(
                Failure(
                    "tool_result_too_large", "The tool found more than can be read; ask for less."
                )
            )
        except httpx2.TimeoutException:
            return _refusal(Failure("tool_timeout", "The tool server did not answer in time."))
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            _log.info("a tool server cannot be reached: %s", type(error).__name__)
            return _refusal(Failure("tool_server_lost", "The tool server broke off its answer."))
        return answer

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _read(answer: httpx2.Response) -> httpx2.Response:
    """Read an answer that is one piece of JSON here, where its faults can be named."""
    try:
        body = await answer.aread()
    finally:
        await answer.aclose()
    return httpx2.Response(answer.status_code, headers=answer.headers, content=body)


def _refusal(why: TidingsError) -> httpx2.Response:
    told = {"code": REFUSED, "message": why.message, "data": why.code}
    body = msgspec.json.encode({"jsonrpc": "2.0", "id": None, "error": told})
    return httpx2.Response(502, headers={"content-type": "application/json"}, content=body)
