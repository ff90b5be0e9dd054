"""A provider on a real socket that speaks OpenAI's and Anthropic's streams, well or badly."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

OPENAI, ANTHROPIC = "openai", "anthropic"
PROTOCOLS = (OPENAI, ANTHROPIC)
EVENTS = "text/event-stream"


@dataclass(frozen=True)
class RawAnswer:
    """One HTTP answer, as bytes.

    `silent` never says a word, `hangs` leaves the body open after its pieces, `cut` closes the
    connection before the body's announced end; `pause` is the time between pieces.
    """

    pieces: tuple[bytes, ...] = ()
    status: int = 200
    kind: str = EVENTS
    headers: tuple[tuple[str, str], ...] = ()
    silent: bool = False
    hangs: bool = False
    cut: bool = False
    pause: float = 0.0

    def head(self) -> bytes:
        length = sum(map(len, self.pieces)) + (1 if self.hangs or self.cut else 0)
        told = [("content-type", self.kind), ("content-length", str(length)), *self.headers]
        lines = [f"HTTP/1.1 {self.status} X", *(f"{name}: {value}" for name, value in told)]
        return ("\r\n".join([*lines, "connection: close", "", ""])).encode()


Rule = Callable[[str, dict[str, Any], int], RawAnswer]
"""What to answer to a protocol's request, the n-th from 0."""


@dataclass
class BadProvider:
    """Answers by its rule; keeps what it was sent, and counts those who left a hanging answer."""

    rule: Rule
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    left: int = 0

    def base_url(self, protocol: str) -> str:
        """Return the address for clients of a protocol."""
        return f"{self.url}/v1" if protocol == OPENAI else self.url

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.left += 1
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length:")[1].split("\r\n")[0])
        body = json.loads(await reader.readexactly(length))
        protocol = ANTHROPIC if "/messages" in head.split("\r\n")[0] else OPENAI
        self.requests.append(body)
        wire = self.rule(protocol, body, len(self.requests) - 1)
        if not wire.silent:
            writer.write(wire.head())
            for piece in wire.pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(wire.pause)
        if wire.silent or wire.hangs:
            await reader.read()
            self.left += 1


@asynccontextmanager
async def bad_provider(rule: Rule) -> AsyncIterator[BadProvider]:
    """Serve on a free port of the loopback interface."""
    fake = BadProvider(rule)
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    fake.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield fake
    finally:
        server.close()


def always(wire_of: Callable[[str], RawAnswer]) -> Rule:
    """Return the rule that gives every request the same answer, in its protocol."""
    return lambda protocol, _body, _number: wire_of(protocol)


@dataclass(frozen=True)
class Asked:
    """A tool call in a scripted reply; `arguments` are sent as they are."""

    id: str
    name: str
    arguments: str = "{}"


def is_offered(body: dict[str, Any], tool: str) -> bool:
    """Return whether a request offers a tool of this name."""
    told = body.get("tools") or []
    return tool in {
        each["function"]["name"] if "function" in each else each["name"] for each in told
    }


def says(protocol: str, *texts: str) -> RawAnswer:
    """Return a well-formed reply of these pieces of text."""
    return RawAnswer(tuple(stream(protocol, texts, ())))


def calls(protocol: str, *asked: Asked) -> RawAnswer:
    """Return a well-formed reply that makes these calls."""
    return RawAnswer(tuple(stream(protocol, (), asked)))


def begins(protocol: str, *texts: str) -> tuple[bytes, ...]:
    """Return the pieces of a reply that has begun, and not ended."""
    return tuple(stream(protocol, texts, ()))[: len(texts) + (2 if protocol == ANTHROPIC else 0)]


def refusal(
    protocol: str, status: int, kind: str, message: str, *headers: tuple[str, str]
) -> RawAnswer:
    """Return an error as the provider words it."""
    error = {"type": kind, "message": message}
    body: dict[str, Any] = {"error": error | {"code": kind, "param": None}}
    if protocol == ANTHROPIC:
        body = {"type": "error", "error": error}
    return RawAnswer((json.dumps(body).encode(),), status, "application/json", headers)


def error_in_stream(protocol: str, kind: str, *texts: str) -> RawAnswer:
    """Return a reply that begins well and goes on with an error."""
    error = {"type": kind, "message": "Sorry"}
    if protocol == ANTHROPIC:
        piece = _event({"type": "error", "error": error})
    else:
        piece = _data({"error": error | {"code": kind}})
    return RawAnswer((*begins(protocol, *texts), piece))


def stream(protocol: str, texts: Iterable[str], asked: Iterable[Asked]) -> Iterable[bytes]:
    """Yield a whole reply, event by event."""
    if protocol == OPENAI:
        return _openai(tuple(texts), tuple(asked))
    return _anthropic(tuple(texts), tuple(asked))


def _openai(texts: tuple[str, ...], asked: tuple[Asked, ...]) -> Iterable[bytes]:
    for text in texts:
        yield _data(_chunk({"content": text}))
    for index, call in enumerate(asked):
        function = {"name": call.name, "arguments": call.arguments}
        told = {"index": index, "id": call.id, "type": "function", "function": function}
        yield _data(_chunk({"tool_calls": [told]}))
    yield _data(_chunk({}, "tool_calls" if asked else "stop"))
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    yield _data(_chunk({}) | {"choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def _chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"delta": delta, "index": 0, "finish_reason": finish}
    kind = "chat.completion.chunk"
    return {"id": "x", "object": kind, "created": 0, "model": "m", "choices": [choice]}


def _anthropic(texts: tuple[str, ...], asked: tuple[Asked, ...]) -> Iterable[bytes]:
    usage = {"input_tokens": 11, "output_tokens": 1}
    message = {"id": "x", "type": "message", "role": "assistant", "model": "m", "content": []}
    more = {"stop_reason": None, "stop_sequence": None, "usage": usage}
    yield _event({"type": "message_start", "message": message | more})
    if texts:
        yield _block(0, {"type": "text", "text": ""})
        for text in texts:
            yield _delta(0, {"type": "text_delta", "text": text})
        yield _event({"type": "content_block_stop", "index": 0})
    for index, call in enumerate(asked, 1 if texts else 0):
        yield _block(index, {"type": "tool_use", "id": call.id, "name": call.name, "input": {}})
        yield _delta(index, {"type": "input_json_delta", "partial_json": call.arguments})
        yield _event({"type": "content_block_stop", "index": index})
    stop = {"stop_reason": "tool_use" if asked else "end_turn", "stop_sequence": None}
    yield _event({"type": "message_delta", "delta": stop, "usage": {"output_tokens": 7}})
    yield _event({"type": "message_stop"})


def _block(index: int, block: dict[str, Any]) -> bytes:
    return _event({"type": "content_block_start", "index": index, "content_block": block})


def _delta(index: int, delta: dict[str, Any]) -> bytes:
    return _event({"type": "content_block_delta", "index": index, "delta": delta})


def _event(data: dict[str, Any]) -> bytes:
    return f"event: {data['type']}\n".encode() + _data(data)


def _data(data: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()
