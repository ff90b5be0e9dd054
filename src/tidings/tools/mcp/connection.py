"""One connection to a tool server: its list of tools, calls, and every fault by its name."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import anyio
import httpx2
from mcp import MCPError
from mcp.client import Client, Transport
from mcp_types import (
    CONNECTION_CLOSED,
    PARSE_ERROR,
    REQUEST_TIMEOUT,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    Implementation,
    InputRequiredResult,
    PaginatedRequestParams,
    RequestParamsMeta,
    Tool,
)
from pydantic import TypeAdapter

from tidings.domain.errors import Failure, TidingsError
from tidings.tools.mcp.http import REFUSALS, REFUSED
from tidings.tools.mcp.listing import TOOLS_PER_SERVER_MAX, Listing, listing
from tidings.tools.mcp.results import ERROR_CHARACTERS_MAX
from tidings.tools.mcp.stdio import ConnectionEnd

START_SECONDS = 15.0
LISTING_PAGES_MAX = 16

FAULTS = (
    ExceptionGroup,
    MCPError,
    OSError,
    RuntimeError,
    TidingsError,
    TimeoutError,
    ValueError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    httpx2.HTTPError,
)
"""How a connection may fail, the library's ways included."""

Open = Callable[[ConnectionEnd], Transport]

_ANSWER: TypeAdapter[CallToolResult | InputRequiredResult] = TypeAdapter(
    CallToolResult | InputRequiredResult
)


class ToolConnection:
    """A server that has shaken hands. It is offered nothing: no models, no questions, no files."""

    def __init__(self, server: str, client: Client, ending: ConnectionEnd) -> None:
        self._server = server
        self._client = client
        self.ending = ending

    async def tools(self) -> Listing:
        """Ask what tools there are, LISTING_PAGES_MAX pages at most.

        Raises:
            MCPError: or another of FAULTS.
        """
        served: list[Tool] = []
        cursor: str | None = None
        for _ in range(LISTING_PAGES_MAX):
            asked = PaginatedRequestParams(cursor=cursor)
            page = await self._client.session.list_tools(params=asked)
            served += page.tools
            cursor = page.next_cursor
            if cursor is None or len(served) > TOOLS_PER_SERVER_MAX:
                break
        return listing(self._server, served)

    async def call(self, tool: str, arguments: dict[str, Any], key: str) -> CallToolResult:
        """Call a tool; `key` tells a repeated call from a new one, to servers that look at it.

        Raises:
            Failure: `tool_error`: the server refuses the call, in its words; `tool_server_lost`,
                `tool_server_fault`, `tool_asks_back`, `tool_result_too_large`, `tool_timeout`,
                `url_blocked`, `url_unreachable`.
        """
        meta = cast("RequestParamsMeta", {"idempotency-key": key})
        told = CallToolRequestParams(name=tool, arguments=arguments, _meta=meta)
        try:
            answer = await self._client.session.send_request(CallToolRequest(params=told), _ANSWER)
        except MCPError as error:
            raise self._failure(error) from error
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise self._lost() from error
        except (RuntimeError, ValueError) as error:
            raise _not_mcp() from error
        if isinstance(answer, InputRequiredResult):
            raise Failure(
                "tool_asks_back", "The tool asks for more than its arguments, which it may not."
            )
        return answer

    def _failure(self, error: MCPError) -> Failure:
        match error.code:
            case int(code) if code == REFUSED and error.data in REFUSALS:
                return Failure(str(error.data), error.message)
            case int(code) if code == CONNECTION_CLOSED or self.ending.ended:
                return self._lost()
            case int(code) if code == PARSE_ERROR:
                return _not_mcp()
            case int(code) if code == REQUEST_TIMEOUT:
                return Failure("tool_timeout", "The tool did not finish in its time.")
            case _:
                told = error.message[:ERROR_CHARACTERS_MAX]
                return Failure("tool_error", f"The tool server refuses the call: {told}")

    def _lost(self) -> Failure:
        if self.ending.why.code != "tool_server_lost":
            return self.ending.why
        return Failure(
            "tool_server_lost",
            "The tool server was lost during the call: whether it took effect is not known.",
        )


def _not_mcp() -> Failure:
    return Failure("tool_server_fault", "The tool server's answer is not one that MCP knows.")


@asynccontextmanager
async def connection(server: str, open_: Open) -> AsyncIterator[ToolConnection]:
    """Connect within START_SECONDS, and hold the connection around the block.

    Raises:
        TimeoutError: or another of FAULTS.
    """
    ending = ConnectionEnd()
    client = Client(
        open_(ending),
        cache=None,
        read_timeout_seconds=None,
        client_info=Implementation(name="tidings", version="1"),
    )
    async with AsyncExitStack() as stack:
        async with asyncio.timeout(START_SECONDS):
            await stack.enter_async_context(client)
        yield ToolConnection(server, client, ending)
