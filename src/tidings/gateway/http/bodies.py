"""JSON bodies: small, shallow, real text, and complete before a route sees them."""

import asyncio
from typing import Any

from pydantic import BaseModel, ConfigDict
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidings.domain.errors import InvalidInput, LimitExceeded, TidingsError
from tidings.domain.strict_json import strict_json
from tidings.gateway.http.problems import Problem

BODY_BYTES_MAX = 256 * 1024
BODY_SECONDS = 10.0
DEPTH_MAX = 32
STREAMED = frozenset({("POST", "/api/files")})
"""Where the body is no JSON and is read by its route, piece by piece."""


class Body(BaseModel):
    """What a route takes: exactly these fields, of exactly these types."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class JsonBodies:
    """Reads and checks the body of every request before the app gets it.

    Raises:
        TidingsError: the body is too big, too slow, no JSON, or no text.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (scope["method"], scope["path"]) not in STREAMED:
            body = await _whole(receive)
            if body:
                _check_type(Headers(scope=scope))
                check_json(body)
            receive = _Replay(body, receive)
        await self._app(scope, receive, send)


class _Replay:
    """Gives the body again, once, and then what comes after it."""

    def __init__(self, body: bytes, rest: Receive) -> None:
        self._body: bytes | None = body
        self._rest = rest

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._rest()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


async def _whole(receive: Receive) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while (message := await receive())["type"] == "http.request":
                body += message.get("body", b"")
                if len(body) > BODY_BYTES_MAX:
                    raise LimitExceeded(
                        "body_too_large", f"Send at most {BODY_BYTES_MAX} bytes.", status=413
                    )
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        raise Problem("body_too_slow", "The body did not arrive in time.", status=408) from None
    return bytes(body)


def _check_type(headers: Headers) -> None:
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise Problem("unsupported_media_type", "Send `application/json`.", status=415)


def check_json(body: bytes) -> None:
    """Check that a body is JSON that everyone reads the same way.

    Raises:
        TidingsError: `bad_json` (400): malformed, deep, with a key twice or with what is no JSON;
            `invalid_text` (422): a text in it holds a NUL or half a character.
    """
    try:
        value = strict_json(body)
    except (ValueError, RecursionError):
        raise _bad_json("The body is not valid JSON.") from None
    level = [value]
    for _ in range(DEPTH_MAX):
        if not level:
            return
        level = [inner for outer in level for inner in _parts(outer)]
    if level:
        raise _bad_json(f"The body is nested deeper than {DEPTH_MAX}.")


def _parts(value: Any) -> list[Any]:
    """Return what is inside a value; check it if it is text."""
    if isinstance(value, str):
        check_characters(value)
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, list) else []


def check_characters(text: str) -> None:
    """Check that a text can be stored and sent: no NUL, no lone surrogate.

    Raises:
        InvalidInput: `invalid_text`.
    """
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidInput("invalid_text", "A text holds a NUL or half a character.")


def _bad_json(detail: str) -> TidingsError:
    return Problem("bad_json", detail, status=400)
