"""Certificates made for a test, and what ends encrypted connections before a server that cannot."""

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.harness.proxy import FaultProxy, proxying

SSL_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"
"""What a client of PostgreSQL asks for before it says anything."""
_NOW = datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path

    def context(self, clients_of: "Authority | None" = None, alpn: str = "") -> ssl.SSLContext:
        """Return what a server needs; it may ask its clients for a certificate of theirs."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(self.certificate, self.key)
        if clients_of is not None:
            made.load_verify_locations(clients_of.root)
            made.verify_mode = ssl.CERT_REQUIRED
        if alpn:
            made.set_alpn_protocols([alpn])
        return made


class Authority:
    """Somebody who signs certificates; whoever trusts them trusts `root`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, folder.name)])
        self.root = folder / "root.pem"
        basic = x509.BasicConstraints(ca=True, path_length=0)
        made = self._begun("root", self._key.public_key()).add_extension(basic, critical=True)
        self._write(self.root, made.sign(self._key, hashes.SHA256()))

    def sign(self, host: str, *, days: int = 2) -> Certificate:
        """Return a certificate for a name or an address, good for so many days from yesterday."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            name = x509.DNSName(host)
        made = self._begun(host, key.public_key(), days).add_extension(
            x509.SubjectAlternativeName([name]), critical=False
        )
        files = Certificate(self._folder / f"{host}.pem", self._folder / f"{host}.key")
        self._write(files.certificate, made.sign(self._key, hashes.SHA256()))
        files.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        files.key.chmod(0o600)
        return files

    def _begun(
        self, subject: str, key: ec.EllipticCurvePublicKey, days: int = 2
    ) -> x509.CertificateBuilder:
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])
        begins = _NOW - timedelta(days=1)
        return (
            x509.CertificateBuilder()
            .subject_name(self._name if subject == "root" else name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins - timedelta(days=max(0, -days) + 1))
            .not_valid_after(begins + timedelta(days=days))
        )

    def _write(self, path: Path, certificate: x509.Certificate) -> None:
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


@asynccontextmanager
async def encrypting_postgres(port: int, context: ssl.SSLContext) -> AsyncIterator[int]:
    """Have what asks clients of a PostgreSQL to encrypt around the block; yield its port."""
    async with proxying(port) as proxy:

        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _greet(proxy, context, reader, writer)

        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]


async def _greet(
    proxy: FaultProxy,
    context: ssl.SSLContext,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    try:
        if await reader.readexactly(len(SSL_REQUEST)) != SSL_REQUEST:
            writer.close()  # who does not ask for it is not spoken to
            return
        writer.write(b"S")
        await writer.start_tls(context)
    except (OSError, asyncio.IncompleteReadError):
        writer.close()
        return
    await proxy.carry(reader, writer)
