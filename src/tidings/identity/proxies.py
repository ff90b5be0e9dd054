"""Whose address it is that asks, where proxies stand between: pure rules.

Anybody can write `X-Forwarded-For`. What a named proxy has added to it stands at the right; what is
left of that, its client has said.
"""

import ipaddress
import re
from collections.abc import Iterator, Sequence

from tidings.domain.errors import InvalidInput

HOPS_MAX = 16

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - a word of RFC 7230
_PAIR = re.compile(rf'({_TOKEN})=(?:({_TOKEN})|"([^"\\]*)")', re.ASCII)
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}", re.ASCII)


class TrustedProxies:
    """The networks whose word is believed about whom they speak for; nobody else's is."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = tuple(networks)

    def client(self, peer: str, forwarded_for: Sequence[str], forwarded: Sequence[str]) -> str:
        """Return the address that asks; `peer` is the one at the other end of the connection.

        The rest are the values of the headers `X-Forwarded-For` and `Forwarded`. A proxy writes one
        of them: where there are both, one may be its client's, and neither is believed. It is the
        nearest address that is not a proxy's; where a proxy has said nothing of use, its own.
        """
        nearest = _address(peer)
        if nearest is None or not self._trusts(nearest) or bool(forwarded_for) == bool(forwarded):
            return peer
        hops = _hops(forwarded_for) if forwarded_for else _elements(forwarded)
        for hop in hops[: -HOPS_MAX - 1 : -1]:
            address = _address(hop)
            if address is None:
                break
            nearest = address
            if not self._trusts(address):
                break
        return str(nearest)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def proxies_of(text: str) -> TrustedProxies:
    """Return the proxies of a setting: addresses and networks, separated by commas.

    Raises:
        InvalidInput: `bad_setting`: one is none, or is all there are.
    """
    return TrustedProxies([_network(word) for word in text.replace(",", " ").split()])


def _network(word: str) -> Network:
    try:
        network = ipaddress.ip_network(word)
    except ValueError as error:
        raise InvalidInput(
            "bad_setting", f"TIDINGS_TRUSTED_PROXIES: {word} is no network: {error}."
        ) from error
    if network.prefixlen == 0:
        raise InvalidInput(
            "bad_setting", f"TIDINGS_TRUSTED_PROXIES: {word} is everybody; name your proxies."
        )
    return network


def _hops(forwarded_for: Sequence[str]) -> list[str]:
    return [hop.strip() for hop in ",".join(forwarded_for).split(",")]


def _elements(forwarded: Sequence[str]) -> list[str]:
    """Return the `for` of each element of RFC 7239; nothing when any of it cannot be read.

    A quoted comma is not understood on purpose: who reads it otherwise than the proxy that wrote it
    believes the client.
    """
    found = []
    for element in ",".join(forwarded).split(","):
        pairs = list(_pairs(element))
        addresses = [value for name, value in pairs if name == "for"]
        if any(not name for name, _ in pairs) or len(addresses) > 1:
            return []
        found.append(addresses[0] if addresses else "")
    return found


def _pairs(element: str) -> Iterator[tuple[str, str]]:
    """Yield names and values; an empty name where there is none."""
    for text in element.split(";"):
        pair = _PAIR.fullmatch(text.strip(" \t"))
        yield (pair[1].lower(), pair[2] or pair[3] or "") if pair else ("", "")


def _address(text: str) -> Address | None:
    """Read an address, with a port or without; one of IPv4 in IPv6 is one of IPv4."""
    with_port = _WITH_PORT.fullmatch(text)
    bare = (with_port[1] or with_port[2]) if with_port else text
    if "%" in bare:
        return None
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
