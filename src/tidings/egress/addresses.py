"""Which addresses a user may have the server call: pure rules, no name is looked up here."""

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from tidings.domain.errors import InvalidInput

URL_CHARACTERS_MAX = 2048
HOST_CHARACTERS_MAX = 253
DEFAULT_PORTS = {"https": 443, "http": 80}
OPEN_PORTS = frozenset({443, 8443})

_URL = re.compile(r"https?://[!-~]+", re.ASCII | re.IGNORECASE)
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_NUMBER = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)", re.ASCII)
_FORBIDDEN = frozenset('\\"<>^`{|}#')
"""Characters over which parsers of URLs disagree."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_GLOBAL_6 = ipaddress.IPv6Network("2000::/3")
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "100.64.0.0/10",  # carriers' own
        "192.0.0.0/24",  # protocol assignments
        "240.0.0.0/4",  # reserved
        "168.63.129.16/32",  # Azure's host agent: global by its number, local by its nature
        "192.88.99.0/24",  # relays of 6to4
        "2002::/16",  # 6to4: an IPv4 address inside
        "2001::/23",  # Teredo and other protocol assignments
        "3fff::/20",  # documentation
    )
)


@dataclass(frozen=True, slots=True)
class Destination:
    """A checked URL in its parts; `target` is the path with its query.

    `trusted` says that the operator has named this host: any address will do.
    """

    scheme: str
    host: str
    port: int
    target: str
    trusted: bool

    @property
    def authority(self) -> str:
        """Host and port as they stand in a URL and in the header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def literal(self) -> Address | None:
        """The address, where the host is one and not a name."""
        return _literal(self.host)


class AllowedHosts:
    """The hosts that the operator trusts, as `host` or `host:port`, exactly.

    Without a port the usual ports are meant: 80 with http, 443 and 8443 with https.

    Raises:
        InvalidInput: `bad_setting`: an entry is not a host.
    """

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self._entries = frozenset(_entry(entry) for entry in entries)

    def __contains__(self, place: tuple[str, int, str]) -> bool:
        """Tell whether a host, port and scheme are allowed."""
        host, port, scheme = place
        usual = port == DEFAULT_PORTS[scheme] or (scheme == "https" and port in OPEN_PORTS)
        return (host, port) in self._entries or (usual and (host, None) in self._entries)


def destination(url: str, allowed: AllowedHosts) -> Destination:
    """Take a URL apart, if the server may call it as far as its text tells.

    https only, on port 443 or 8443, to a full name or a public address, without credentials; to
    a host that the operator allows also http, another port that was named, and any address.

    Raises:
        InvalidInput: `url_blocked`: the message says which rule.
    """
    if len(url) > URL_CHARACTERS_MAX or not _URL.fullmatch(url) or _FORBIDDEN & set(url):
        raise _blocked("Give an https:// address in plain ASCII, without credentials or fragment.")
    try:
        scheme, netloc, path, query, _ = urlsplit(url)
    except ValueError:
        raise _blocked("The host is not an address.") from None
    host, port = _host_and_port(netloc, DEFAULT_PORTS[scheme])
    trusted = (host, port, scheme) in allowed
    if not trusted:
        _check_untrusted(scheme, host, port)
    return Destination(scheme, host, port, (path or "/") + (f"?{query}" if query else ""), trusted)


def is_public(address: Address) -> bool:
    """Tell whether an address is for everyone, by every reading of it.

    An IPv4 address inside an IPv6 one counts as itself; tunnels are never public.
    """
    if any(address.version == network.version and address in network for network in _NOT_PUBLIC):
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast
    embedded = tuple(_embedded(address))
    if address in _MAPPED or address in _NAT64:
        return all(is_public(inner) for inner in embedded)
    return (
        address in _GLOBAL_6 and address.is_global and all(is_public(inner) for inner in embedded)
    )


def _embedded(address: ipaddress.IPv6Address) -> Iterator[ipaddress.IPv4Address]:
    """Yield the IPv4 addresses to which this one may lead."""
    number = int(address)
    if address in _MAPPED or address in _NAT64:
        yield ipaddress.IPv4Address(number & 0xFFFFFFFF)
    if (number >> 32) & 0xFDFFFFFF == 0x00005EFE:  # noqa: PLR2004 - ISATAP's mark
        yield ipaddress.IPv4Address(number & 0xFFFFFFFF)


def _check_untrusted(scheme: str, host: str, port: int) -> None:
    if scheme != "https":
        raise _blocked("Use https.")
    if port not in OPEN_PORTS:
        raise _blocked("Use port 443 or 8443.")
    address = _literal(host)
    if address is not None and not is_public(address):
        raise _blocked("This address is not a public one.")
    if address is None and "." not in host:
        raise _blocked("Give the full name of the host.")


def _host_and_port(netloc: str, usual: int) -> tuple[str, int]:
    host, colon, digits = netloc.lower(), "", ""
    if not host.endswith("]"):
        before, colon, after = host.rpartition(":")
        if colon:
            host, digits = before, after
    if colon and not re.fullmatch(r"[0-9]{1,5}", digits):
        raise _blocked("The port is not a number.")
    port = int(digits) if colon else usual
    return _host(host), port


def _host(text: str) -> str:
    """Return a host in its one spelling: an address, or a name that cannot be read as one."""
    if text.startswith("[") and text.endswith("]") and "%" not in text:
        try:
            return str(ipaddress.IPv6Address(text[1:-1]))
        except ValueError:
            raise _blocked("The host is not an address.") from None
    name = text.removesuffix(".")
    if len(name) > HOST_CHARACTERS_MAX or not _NAME.fullmatch(name):
        raise _blocked("The host is not a name.")
    if _NUMBER.fullmatch(name.rpartition(".")[2]) and _literal(name) is None:
        raise _blocked("Write the address as four decimal numbers.")
    return name


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _entry(text: str) -> tuple[str, int | None]:
    try:
        host, port = _host_and_port(text, 0)
    except InvalidInput as error:
        raise InvalidInput("bad_setting", f"{text!r} is not a host or host:port.") from error
    return host, port or None


def _blocked(why: str) -> InvalidInput:
    return InvalidInput("url_blocked", f"The server does not call this address. {why}")
