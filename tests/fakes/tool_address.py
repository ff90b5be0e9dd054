"""A tool server on a real socket that answers in HTTP, well or badly, by the name of the tool."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.harness.programs.tool_server import answer

JSON = "application/json"
EVENTS = "text/event-stream"


@dataclass
class ToolAddress:
    """Keeps what it was asked; `redirect` sends callers of tools elsewhere."""

    host: str = ""
    redirect: str = ""
    kind: str = JSON
    methods: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.host}/mcp"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
            headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:])}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.headers.append(headers)
            await self._answer(json.loads(body) if body else {}, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(
        self, message: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.methods.append(message.get("method", "none"))
        if "id" not in message:
            writer.write(_head("202 Accepted", JSON, 0))
            return
        tool = message.get("params", {}).get("name") if message["method"] == "tools/call" else ""
        if tool and self.redirect:
            where = f"location: {self.redirect}\r\n"
            writer.write(_head("307 Temporary Redirect", JSON, 0, where))
            return
        result = answer(message, False)
        told = {"error": {"code": -32601, "message": "?"}} if result is None else {"result": result}
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"]} | told).encode()
        if self.kind == EVENTS:
            body = b"event: message\ndata: " + body + b"\n\n"
        match tool:
            case "silent":
                await reader.read()  # until the other side gives up
            case "nonsense":
                writer.write(_head("200 OK", self.kind, 9) + b"{not json")
            case "dies":
                writer.write(_head("200 OK", self.kind, len(body)) + body[:10])
            case "asks":
                packed = "content-encoding: gzip\r\n"
                writer.write(_head("200 OK", self.kind, len(body), packed) + body)
            case _:
                writer.write(_head("200 OK", self.kind, len(body)) + body)
        await writer.drain()


@asynccontextmanager
async def tool_address(kind: str = JSON, redirect: str = "") -> AsyncIterator[ToolAddress]:
    """Serve on a free port of the loopback interface."""
    there = ToolAddress(redirect=redirect, kind=kind)
    server = await asyncio.start_server(there.serve, "127.0.0.1", 0)
    there.host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield there


def _head(status: str, kind: str, length: int, more: str = "") -> bytes:
    return (
        f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n"
        f"content-length: {length}\r\nconnection: close\r\n{more}\r\n"
    ).encode()
