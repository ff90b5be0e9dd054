"""A server on a real socket that speaks OpenAI's streaming chat completions, by a script."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Answer:
    """One scripted HTTP answer.

    `cut` closes the connection after the body, mid-stream; `hang` waits for the client to do it.
    """

    status: int
    body: bytes
    kind: str = "text/event-stream"
    cut: bool = False
    hang: bool = False


@dataclass
class OpenAIServer:
    """Gives its answers in order, or by the turn of the conversation; keeps what it was sent."""

    answers: list[Answer]
    by_turn: bool = False
    base_url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length:")[1].split("\r\n")[0])
        self.requests.append(json.loads(await reader.readexactly(length)))
        answer = self._next()
        size = len(answer.body) + (1000 if answer.cut else 0)
        writer.write(
            f"HTTP/1.1 {answer.status} X\r\ncontent-type: {answer.kind}\r\n"
            f"content-length: {size}\r\nconnection: close\r\n\r\n".encode()
        )
        writer.write(answer.body)
        await writer.drain()
        if answer.hang:
            await reader.read()
        writer.close()
        await writer.wait_closed()

    def _next(self) -> Answer:
        if not self.by_turn:
            return self.answers.pop(0)
        turn: int = sum(message["role"] == "tool" for message in self.requests[-1]["messages"])
        return self.answers[turn]


@asynccontextmanager
async def openai_server(*answers: Answer, by_turn: bool = False) -> AsyncIterator[OpenAIServer]:
    """Serve on a free port of the loopback interface.

    `by_turn`: the same conversation gets the same answer, however often it is sent.
    """
    fake = OpenAIServer(list(answers), by_turn)
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    fake.base_url = f"http://127.0.0.1:{port}/v1"
    async with server:
        yield fake


def stream(*deltas: dict[str, Any], finish: str = "stop", cut: bool = False) -> Answer:
    """Return a streamed completion of these deltas; `cut` leaves out its end."""
    chunks = [_chunk({"delta": delta, "index": 0, "finish_reason": None}) for delta in deltas]
    if not cut:
        chunks.append(_chunk({"delta": {}, "index": 0, "finish_reason": finish}))
        chunks.append(_usage())
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return Answer(200, "".join([*lines, "" if cut else "data: [DONE]\n\n"]).encode(), cut=cut)


def error(status: int, message: str) -> Answer:
    """Return an error as OpenAI words it."""
    body = {"error": {"message": message, "type": "x", "code": None, "param": None}}
    return Answer(status, json.dumps(body).encode(), "application/json")


def _chunk(choice: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "x",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "m",
        "choices": [choice],
    }


def _usage() -> dict[str, Any]:
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    return _chunk({}) | {"choices": [], "usage": usage}
