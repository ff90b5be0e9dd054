"""The way out of a socket, as the server gives it to the application."""

import asyncio
from typing import Protocol

EXTENSION, OUTLET = "tidings", "outlet"
"""The extension of the scope, and its entry, by which a server gives a connection's `Outlet`."""


class Outlet(Protocol):
    """The way out of a socket: messages are written at once and go out with the loop's next turn.

    `writable` is set unless the client has fallen behind in reading.
    """

    writable: asyncio.Event

    def write(self, message: bytes) -> None:
        """Send a text message.

        Raises:
            OSError: the connection is over.
        """
        ...
