"""Requests to where users point: the name is looked up once, checked, and that address is called.

No redirect is followed, no proxy of the environment is asked, no body of an answer is read.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TypeVar

import httpx2

from tidings.domain.errors import DeadlineExceeded, Failure, TidingsError
from tidings.egress.addresses import Address, AllowedHosts, Destination, destination, is_public

CONNECT_SECONDS = 5.0
REQUEST_SECONDS = 10.0
ADDRESSES_TRIED_MAX = 4

R = TypeVar("R")

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Look a host and port up; OSError when there is none of that name."""


async def system_resolve(host: str, port: int) -> list[str]:
    """Ask the machine's resolver."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(where[0]) for *_, where in found]


class Egress:
    """Calls what users name, as far as the rules of `addresses` and the operator allow.

    `tls` says which certificates are believed.
    """

    def __init__(
        self,
        allowed: AllowedHosts,
        resolve: Resolve = system_resolve,
        tls: ssl.SSLContext | bool = True,  # noqa: FBT001, FBT002 - as the library has it
    ) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self.tls = tls

    def check(self, url: str) -> Destination:
        """Check a URL by its text alone; see `destination`, whose error this raises."""
        return destination(url, self._allowed)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Outbound"]:
        """Make requests within the block; each has a connection of its own."""
        async with httpx2.AsyncClient(
            verify=self.tls,
            trust_env=False,
            follow_redirects=False,
            timeout=httpx2.Timeout(REQUEST_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx2.Limits(max_keepalive_connections=0),
        ) as client:
            yield Outbound(self, client)

    async def call(self, to: Destination, send: Callable[[Address], Awaitable[R]]) -> R:
        """Look a destination up, and try its addresses until one takes the connection.

        Raises:
            Failure: `url_unreachable`: there is no such host.
            Failure: `url_blocked`: it has an address that is not public.
        """
        *others, last = await self._addresses(to)
        for address in others:
            with suppress(httpx2.ConnectError, httpx2.ConnectTimeout):
                return await send(address)
        return await send(last)

    async def _addresses(self, to: Destination) -> list[Address]:
        """Look a destination up; every address it has must be allowed."""
        try:
            found = [str(to.literal)] if to.literal else await self._resolve(to.host, to.port)
            addresses = [ipaddress.ip_address(one) for one in dict.fromkeys(found)]
        except (OSError, ValueError) as error:
            raise _unreachable("There is no host of this name.") from error
        if not to.trusted and not all(is_public(address) for address in addresses):
            raise Failure("url_blocked", "The host has an address that is not a public one.")
        if not addresses:
            raise _unreachable("There is no host of this name.")
        return addresses[:ADDRESSES_TRIED_MAX]


class Outbound:
    """Requests over one set of connections; from `Egress.opened`."""

    def __init__(self, egress: Egress, client: httpx2.AsyncClient) -> None:
        self._egress = egress
        self._client = client

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Send a body and return the status of the answer, within REQUEST_SECONDS.

        Raises:
            InvalidInput: `url_blocked`, by its text.
            Failure: `url_blocked`, by its address; `url_unreachable`: no connection, no TLS, or
                an answer that is not HTTP.
            DeadlineExceeded: `url_timeout`.
        """
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                to = self._egress.check(url)
                return await self._egress.call(to, partial(self._send, to, headers, body))
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise DeadlineExceeded("url_timeout", "There was no answer in time.") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            raise _unreachable("There was no answer in HTTP.") from error

    async def _send(
        self, to: Destination, headers: Mapping[str, str], body: bytes, address: Address
    ) -> int:
        """Call one address in the name of its host; the answer's body stays unread."""
        host = f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004
        async with self._client.stream(
            "POST",
            f"{to.scheme}://{host}:{to.port}{to.target}",
            headers={**headers, "Host": to.authority},
            content=body,
            extensions={"sni_hostname": to.host},
        ) as answer:
            return answer.status_code


def _unreachable(why: str) -> TidingsError:
    return Failure("url_unreachable", why)
