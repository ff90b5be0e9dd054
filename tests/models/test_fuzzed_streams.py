"""Ten thousand mangled streams of both protocols: a reply or a named fault comes of each."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import msgspec
import pytest

from tests.fakes.bad_provider import (
    ANTHROPIC,
    OPENAI,
    PROTOCOLS,
    Asked,
    RawAnswer,
    bad_provider,
    stream,
)
from tests.fakes.watch import hasty_chain
from tidings.models.connect import connect
from tidings.models.faults import ModelFault
from tidings.models.port import Message, ModelReply, ModelRequest, OnText, ToolSpec
from tidings.resilience.breaker import BreakerRules
from tidings.resilience.retry import RetryPolicy

pytestmark = pytest.mark.filterwarnings("ignore")
"""The providers' libraries warn of what they cannot make sense of."""

STREAMS = 5_000
STREAMS_OVER_SOCKETS = 150
SEED = 20_261_121
CODES = {"model_bad_reply", "model_unavailable", "model_refused", "model_overloaded",
         "model_rate_limited", "model_rejected", "model_quota_exhausted", "model_auth_failed",
         "model_context_too_long"}  # fmt: skip
REQUEST = ModelRequest(
    "Be brief.",
    (Message("user", "Hi"),),
    (ToolSpec("weather", "Tell it.", {"type": "object", "properties": {}}),),
)
TEXTS = ("Hello ", "w\u00f6rld \U0001f600", "\u2028", "x" * 300, "{{c1.total}}", "")
CALLS = (
    Asked("call_1", "weather", '{"town": "Bern"}'),
    Asked("call_1", "weather", '{"town": '),
    Asked("", "", "null"),
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


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_mangled_stream_gives_a_reply_that_can_be_kept_or_a_fault(protocol: str) -> None:
    outcomes: Counter[str] = Counter()

    async def scenario() -> None:
        wire = MangledWire(protocol, SEED)
        model = connect(f"{protocol}:m", protocol, "m", "http://127.0.0.1:9/v1", wire)
        for _ in range(STREAMS):
            shown: list[str] = []
            try:
                reply = await model.respond(REQUEST, keeping(shown))
            except ModelFault as fault:
                outcomes[fault.code] += fault.usage.requests
            else:
                outcomes["ok"] += 1
                check(reply)
            "".join(shown).encode()

    asyncio.run(scenario())
    assert outcomes.keys() <= CODES | {"ok"}
    assert min(outcomes["ok"], outcomes["model_bad_reply"]) > STREAMS / 50


def test_the_same_over_sockets_within_the_limits() -> None:
    rng = random.Random(SEED)

    async def scenario() -> Counter[str]:
        outcomes: Counter[str] = Counter()
        async with bad_provider(
            lambda protocol, _body, _number: RawAnswer((mangled(protocol, rng),))
        ) as server:
            models = [connect(f"{p}:m", p, "m", server.base_url(p)) for p in (OPENAI, ANTHROPIC)]
            retry, breaker = RetryPolicy(base_seconds=0.0), BreakerRules(calls_min=10_000)
            for model in models:
                chain = hasty_chain(model, retry=retry, breaker=breaker)
                for _ in range(STREAMS_OVER_SOCKETS):
                    try:
                        check(await chain.respond(REQUEST, keeping([])))
                        outcomes["ok"] += 1
                    except ModelFault as fault:
                        outcomes[fault.code] += 1
        return outcomes

    assert asyncio.run(scenario()).keys() <= CODES | {"ok"}


def check(reply: ModelReply) -> None:
    """Check that a reply can be kept in the journal, and sent back to a provider."""
    assert msgspec.json.decode(msgspec.json.encode(reply), type=ModelReply) == reply
    assert reply.text or reply.calls
    ids = [call.id for call in reply.calls]
    assert len(set(ids)) == len(ids)
    assert all(ids)


def keeping(shown: list[str]) -> OnText:
    async def on_text(piece: str) -> None:
        shown.append(piece)

    return on_text


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "x")
