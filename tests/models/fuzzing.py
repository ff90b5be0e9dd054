"""Mangles streams of both protocols, and sees what comes of each: `make fuzz` for a million."""

import asyncio
import json
import os
import random
import sys
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import msgspec

from tests.fakes.bad_provider import (
    PROTOCOLS,
    Asked,
    stream,
)
from tidings.models.connect import connect
from tidings.models.faults import ModelFault
from tidings.models.port import Message, ModelReply, ModelRequest, OnText, ToolSpec
from tidings.models.translation import OUTPUT_TOOL, conversation_of, request_of, response_of

CODES = {"model_bad_reply", "model_unavailable", "model_refused", "model_overloaded",
         "model_rate_limited", "model_rejected", "model_quota_exhausted", "model_auth_failed",
         "model_context_too_long", "model_output_unfit"}  # fmt: skip
REQUEST = ModelRequest(
    "Be brief.",
    (Message("user", "Hi"),),
    (ToolSpec("weather", "Tell it.", {"type": "object", "properties": {}}),),
)
SCHEMA = {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]}
REQUESTS = (
    REQUEST,
    msgspec.structs.replace(REQUEST, schema=SCHEMA),
    request_of(conversation_of(REQUEST)),
)
"""For text, for a value, and of an agent of pydantic-ai."""
TEXTS = ("Hello ", "w\u00f6rld \U0001f600", "\u2028", "x" * 300, "{{c1.total}}", "")
CALLS = (
    Asked("call_1", "weather", '{"town": "Bern"}'),
    Asked("call_1", "weather", '{"town": '),
    Asked("", "", "null"),
    Asked("call_2", OUTPUT_TOOL, '{"town": "Bern"}'),
    Asked("call_2", OUTPUT_TOOL, '{"town": 3}'),
)
ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    1e300,
    "",
    "x",
    [],
    {},
    [[]],
    {"error": {"message": "m"}},
    10**30,
    "\ud800",
)
BYTES = (
    b"\xff",
    b"\x00",
    b"\r",
    b"\n\n",
    b":",
    b"data: ",
    b"event: error\n",
    b"\xe2\x80",
    b"[" * 50,
)


class MangledReply(httpx2.AsyncByteStream):
    """A body in pieces that end anywhere."""

    def __init__(self, body: bytes, rng: random.Random) -> None:
        self._body = body
        self._rng = rng

    async def __aiter__(self) -> AsyncIterator[bytes]:
        start = 0
        while start < len(self._body):
            size = self._rng.choice((1, 7, 100, 4_096, 65_536))
            yield self._body[start : start + size]
            start += size


class MangledWire(httpx2.AsyncBaseTransport):
    """In place of the network: each request gets a stream that is mangled anew."""

    def __init__(self, protocol: str, seed: int) -> None:
        self._rng = random.Random(seed)
        self._protocol = protocol

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        assert request.extensions["timeout"]["read"] is None
        body = mangled(self._protocol, self._rng)
        status = self._rng.choice((200,) * 30 + (400, 401, 402, 403, 404, 413, 429, 500, 529))
        headers = {"content-type": "text/event-stream"}
        return httpx2.Response(status, headers=headers, stream=MangledReply(body, self._rng))


def mangled(protocol: str, rng: random.Random) -> bytes:
    """Return a stream with one to three things wrong with it."""
    texts = rng.choices(TEXTS, k=rng.randrange(4))
    calls = rng.choices(CALLS, k=rng.choice((0, 0, 0, 1, 2, 3)))
    pieces = list(stream(protocol, texts, calls))
    for _ in range(rng.randrange(1, 4)):
        how = rng.randrange(6)
        at = rng.randrange(len(pieces)) if pieces else 0
        if not pieces or how == 0:
            pieces.insert(at, rng.choice(BYTES))
        elif how == 1:
            del pieces[at]
        elif how == 2:
            pieces.insert(rng.randrange(len(pieces)), pieces[at])
        elif how == 3:
            cut = rng.randrange(len(pieces[at]) + 1)
            pieces[at] = pieces[at][:cut] + rng.choice((b"", *BYTES)) + pieces[at][cut + 1 :]
        else:
            pieces[at] = twisted(pieces[at], rng)
    return b"".join(pieces)


def twisted(piece: bytes, rng: random.Random) -> bytes:
    """Return an event with one value of its JSON replaced by an odd one, or one left out."""
    head, mark, data = piece.partition(b"data: ")
    try:
        value = json.loads(data)
    except ValueError:
        return piece + piece
    places = list(spots(value))
    if not places:
        return piece
    holder, key = rng.choice(places)
    if rng.randrange(5) == 0:
        del holder[key]
    else:
        holder[key] = rng.choice(ODD)
    return head + mark + json.dumps(value).encode() + b"\n\n"


def spots(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place in a JSON value that holds another."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from spots(value[key])


async def fuzz(protocol: str, streams: int, seed: int) -> Counter[str]:
    """Return how often what came of this many streams, asked for in each way in turn.

    Raises:
        AssertionError: a reply cannot be kept.
    """
    outcomes: Counter[str] = Counter()
    wire = MangledWire(protocol, seed)
    model = connect(f"{protocol}:m", protocol, "m", "http://127.0.0.1:9/v1", wire)
    for number in range(streams):
        shown: list[str] = []
        try:
            reply = await model.respond(REQUESTS[number % len(REQUESTS)], keeping(shown))
        except ModelFault as fault:
            outcomes[fault.code] += fault.usage.requests
        else:
            outcomes["ok"] += 1
            check(reply)
        "".join(shown).encode()
    return outcomes


def check(reply: ModelReply) -> None:
    """Check that a reply can be kept in the journal, and sent back to a provider."""
    assert msgspec.json.decode(msgspec.json.encode(reply), type=ModelReply) == reply
    assert reply.text or reply.calls or reply.value is not None or bytes(reply.body) != b"null"
    if bytes(reply.body) != b"null":
        assert [call.tool_call_id for call in response_of(reply).tool_calls] == [
            call.id for call in reply.calls
        ]
    ids = [call.id for call in reply.calls]
    assert len(set(ids)) == len(ids)
    assert all(ids)


def keeping(shown: list[str]) -> OnText:
    async def on_text(piece: str) -> None:
        shown.append(piece)

    return on_text


def main() -> None:
    """Mangle as many streams as the first argument says, by the seed in the second."""
    streams, seed = int(sys.argv[1]), int(sys.argv[2])
    os.environ |= {"OPENAI_API_KEY": "x", "ANTHROPIC_API_KEY": "x"}
    warnings.simplefilter("ignore")
    for protocol in PROTOCOLS:
        outcomes = asyncio.run(fuzz(protocol, streams // len(PROTOCOLS), seed))
        print(protocol, dict(outcomes.most_common()), flush=True)
        assert outcomes.keys() <= CODES | {"ok"}


if __name__ == "__main__":
    main()
