"""Where Temporal is, and what it asks of those who come: nothing, an API key, or a certificate."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from temporalio.service import TLSConfig

from tidings.domain.errors import InvalidInput

ENCRYPTED = "tls://"
_ADDRESS = re.compile(r"[^\s/]+:\d+")


@dataclass(frozen=True, slots=True)
class Frontend:
    """A namespace of a server at `host:port`, or `tls://host:port`. Files are read once, here.

    Without a `ca_file` a certificate is believed that the machine believes.

    Raises:
        InvalidInput: `bad_setting`: something secret would go unencrypted, or a file is not there.
    """

    address: str
    namespace: str
    api_key: str = field(default="", repr=False)
    ca_file: str = ""
    cert_file: str = ""
    cert_key_file: str = ""
    tls: TLSConfig | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if bool(self.cert_file) != bool(self.cert_key_file):
            raise _unfit(
                "TIDINGS_TEMPORAL_CERT_FILE and TIDINGS_TEMPORAL_CERT_KEY_FILE go together"
            )
        encrypted = self.address.startswith(ENCRYPTED)
        if not encrypted and (self.api_key or self.ca_file or self.cert_file):
            raise _unfit("a key or a certificate of Temporal needs an address that says tls://")
        if not _ADDRESS.fullmatch(self.target):
            raise _unfit("TIDINGS_TEMPORAL_ADDRESS must be host:port or tls://host:port")
        tls = TLSConfig(
            server_root_ca_cert=_read(self.ca_file),
            client_cert=_read(self.cert_file),
            client_private_key=_read(self.cert_key_file),
        )
        object.__setattr__(self, "tls", tls if encrypted else None)

    @property
    def target(self) -> str:
        """The address as the client takes it."""
        return self.address.removeprefix(ENCRYPTED)


def _read(path: str) -> bytes | None:
    if not path:
        return None
    try:
        return Path(path).read_bytes()
    except OSError:
        raise _unfit(f"{path}, named for Temporal, is not read") from None


def _unfit(why: str) -> InvalidInput:
    return InvalidInput("bad_setting", f"{why[0].upper()}{why[1:]}.")
