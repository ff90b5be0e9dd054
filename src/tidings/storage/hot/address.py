"""Where the server of the hot tier is, and how connections to it are made and ended."""

import asyncio

from redis.asyncio.connection import AbstractConnection, ConnectionPool

from tidings.domain.errors import InvalidInput

CONNECT_SECONDS = 1.0
CLIENT_NAME = "tidings"

_SCHEMES = {"valkey://": "redis://", "valkeys://": "rediss://"}
"""What the same server is called by its own name."""


class Address:
    """A server by its URL: `redis://`, `rediss://` for TLS, `valkey(s)://`, or `unix://`.

    Raises:
        InvalidInput: `bad_setting`: that is no such URL.
    """

    def __init__(self, url: str) -> None:
        try:
            self._pool = ConnectionPool.from_url(
                _known(url),
                protocol=2,
                client_name=CLIENT_NAME,
                socket_connect_timeout=None,
                socket_timeout=None,
            )
        except ValueError:
            # What the parser says may hold a part of the password.
            raise InvalidInput(
                "bad_setting",
                "TIDINGS_HOT_URL must be a redis://, rediss:// (for TLS) or unix:// address.",
            ) from None

    async def connect(self) -> AbstractConnection:
        """Return a connection of the caller's own, who ends it with `cut`; nothing is pooled.

        Raises:
            RedisError, OSError, TimeoutError: there is none to be had within CONNECT_SECONDS.
        """
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(CONNECT_SECONDS):  # of which greeting each other is a part
                await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await cut(connection)
            raise
        return connection


async def cut(connection: AbstractConnection) -> None:
    """End a connection without a word: what was asked on it, and not heard, is lost with it."""
    await connection.disconnect(nowait=True)


def _known(url: str) -> str:
    """Return the URL by the name that the client knows."""
    for scheme, known in _SCHEMES.items():
        if url.startswith(scheme):
            return known + url.removeprefix(scheme)
    return url
