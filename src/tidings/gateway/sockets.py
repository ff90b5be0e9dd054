"""The ASGI application at `/ws`: whom to let in."""

from urllib.parse import urlsplit

from tidings.domain.ports import IdSource
from tidings.gateway.outlet import EXTENSION, OUTLET
from tidings.gateway.presence import ADMISSIONS_AT_ONCE_MAX, ADMISSIONS_PER_SECOND_MAX, Presence
from tidings.gateway.socket import Backend, Receive, Scope, SendMessage, Socket
from tidings.protocol.closing import Close
from tidings.protocol.frames import SUBPROTOCOL
from tidings.resilience.rates import Allowance, Rated

SOCKETS_MAX = 12_000


class Sockets:
    """Accepts every upgrade, for a browser cannot read a refused one, and closes what it must."""

    def __init__(
        self, backend: Backend, presence: Presence, ids: IdSource, *, origins: frozenset[str]
    ) -> None:
        self._backend = backend
        self._presence = presence
        self._ids = ids
        self._origins = origins
        seconds = ADMISSIONS_AT_ONCE_MAX / ADMISSIONS_PER_SECOND_MAX
        self._admissions = Rated(Allowance("admissions", ADMISSIONS_AT_ONCE_MAX, seconds))
        self._clock = backend.clock

    async def __call__(self, scope: Scope, receive: Receive, send: SendMessage) -> None:
        """Carry one connection from its upgrade to its close."""
        await receive()
        subprotocol = SUBPROTOCOL if SUBPROTOCOL in scope.get("subprotocols", []) else None
        await send({"type": "websocket.accept", "subprotocol": subprotocol})
        outlet = scope["extensions"][EXTENSION][OUTLET]
        connection_id = self._ids.new("k")
        socket = Socket(self._backend, self._presence, connection_id, receive, send, outlet)
        if refused := self._refusal(_headers(scope)):
            await socket.close(*refused)
            return
        self._presence.enter(socket)
        self._backend.metrics.sockets.inc()
        try:
            await socket.serve(_headers(scope), scope.get("query_string", b""))
        finally:
            self._presence.leave(socket)
            self._backend.metrics.sockets.dec()

    def _refusal(self, headers: dict[str, str]) -> tuple[Close, str] | None:
        """Return why a connection may not stay, before it has said anything."""
        if not self._is_welcome(headers):
            return Close.FORBIDDEN, "origin"
        if self._presence.draining:
            return Close.DRAIN, "the server stops"
        if len(self._presence) >= SOCKETS_MAX:
            return Close.OVERLOADED, "retry_after_ms=5000"
        if wait := self._admissions.take("", self._clock.monotonic()):
            return Close.OVERLOADED, f"retry_after_ms={round(wait * 1000)}"
        return None

    def _is_welcome(self, headers: dict[str, str]) -> bool:
        """Check the page's origin: our own, or one of the allow-list; programs send none."""
        origin = headers.get("origin")
        if origin is None or origin in self._origins:
            return True
        return urlsplit(origin).netloc == headers.get("host") and "://" in origin


async def no_sockets(_scope: Scope, receive: Receive, send: SendMessage) -> None:
    """Refuse every upgrade: clients do not connect here."""
    await receive()
    await send({"type": "websocket.close"})


def _headers(scope: Scope) -> dict[str, str]:
    """Return the headers; made when they are asked for, so that no connection keeps them."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
