"""The outer edge: request ids, security headers, counting, and the last resort."""

import logging
from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidings.domain.errors import Failure, LimitExceeded, TidingsError
from tidings.gateway.http.problems import Problem, answer
from tidings.gateway.services import Services

_log = logging.getLogger("tidings.gateway")

SOCKETS_PATH = "/ws"

SECRET_PARAMETERS = frozenset(
    {"token", "access_token", "refresh_token", "ticket", "api_key", "key", "authorization", "jwt"}
)
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
}
"""On every answer that does not set its own."""


class Edge:
    """The outermost layer: whatever happens inside, the client gets an answer with an id.

    Sockets have an edge of their own and pass here: each would keep every layer for its lifetime.
    """

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._sockets = services.sockets
        self._ids = services.ids
        self._clock = services.clock
        self._metrics = services.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and scope["path"] == SOCKETS_PATH:
            await self._sockets(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = self._ids.new("req")
        answered = _Answer(send, request_id)
        began = self._clock.monotonic()
        try:
            _check_address(scope)
            await self._app(scope, receive, answered)
        except TidingsError as error:
            await self._refuse(error, scope, answered)
        except Exception:  # noqa: BLE001 - the outer edge
            _log.exception("request %s failed", request_id)
            failure = Failure("internal", "Something went wrong here. Quote the request id.")
            await self._refuse(failure, scope, answered)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.requests.labels(route, str(answered.status)).inc()
            elapsed = self._clock.monotonic() - began
            self._metrics.request_seconds.labels(route).observe(elapsed)

    async def _refuse(self, error: TidingsError, scope: Scope, answered: "_Answer") -> None:
        """Answer with a problem; where an answer has begun already, break it off."""
        self._metrics.refusals.labels(error.code).inc()
        if isinstance(error, LimitExceeded):
            self._metrics.limit_hits.labels(error.code).inc()
        if answered.status:
            raise error
        await answer(error, answered.request_id)(scope, _nothing, answered)


class _Answer:
    """Sends on, with the headers that every answer has; remembers the status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self.status = 0
        self.request_id = request_id
        self._send = send
        self._headers: Mapping[str, str] = SECURITY_HEADERS | {"X-Request-ID": request_id}

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in self._headers.items():
                headers.setdefault(name, value)
        await self._send(message)


def _check_address(scope: Scope) -> None:
    """Refuse a credential in the query, where logs keep it."""
    if carries_secret(scope):
        raise Problem(
            "token_in_url", "Credentials never go into a URL. Revoke this one.", status=400
        )


def carries_secret(scope: Scope) -> bool:
    """Tell whether the query of a request or handshake names a credential."""
    query = scope.get("query_string", b"").decode("latin-1")
    return any(name.lower() in SECRET_PARAMETERS for name, _ in _pairs(query))


def _pairs(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True) if query else []


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
