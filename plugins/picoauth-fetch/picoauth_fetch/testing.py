"""For tests of whatever fetches: an authority, and sites on loopback that answer as they are told."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

LOCAL = ("localhost", "127.0.0.1")
LONGEST = 1 << 20
"""Bytes of a request's head that a site reads."""


class Authority:
    """Signs certificates of a test; `ca` is the file by which it is trusted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test authority")])
        basic = x509.BasicConstraints(ca=True, path_length=0)
        uses = x509.KeyUsage(  # which OpenSSL looks at
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        built = self.building(self.name, self.key, 0).add_extension(basic, critical=True)
        certificate = built.add_extension(uses, critical=True).sign(self.key, hashes.SHA256())
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(certificate.public_bytes(Encoding.PEM))

    def building(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, age: int
    ) -> x509.CertificateBuilder:
        """Of a certificate that was good for a day, so many days ago."""
        start = datetime.now(UTC) - timedelta(days=age, hours=1)
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        built = x509.CertificateBuilder(issuer_name=self.name, subject_name=subject)
        built = built.public_key(key.public_key()).serial_number(x509.random_serial_number())
        built = built.not_valid_before(start).not_valid_after(start + timedelta(days=1))
        return built.add_extension(own, critical=False).add_extension(signer, critical=False)

    def context(self, *names: str, age: int = 0) -> ssl.SSLContext:
        """What a server of these names and addresses shows."""
        key = ec.generate_private_key(ec.SECP256R1())
        shown = x509.SubjectAlternativeName([alternative(name) for name in names or LOCAL])
        built = self.building(x509.Name([]), key, age).add_extension(shown, critical=True)
        certificate = built.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)
        path = self.folder / f"{x509.random_serial_number()}.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(certificate + private)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


def alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@dataclass(frozen=True)
class Asked:
    """One request that came to a site."""

    method: str
    path: str
    headers: dict[str, str]
    """By name in lower case."""
    body: bytes


def answer(
    body: bytes = b"", *, status: int = 200, kind: str = "text/plain", **headers: str
) -> bytes:
    """An answer of HTTP; `headers` with underscores for hyphens."""
    named = {"Content-Type": kind, "Content-Length": str(len(body)), **headers}
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items()]
    return f"HTTP/1.1 {status} Told\r\n{''.join(lines)}\r\n".encode() + body


@dataclass
class Site:
    """What a server got, and what it says by path, byte for byte; 404 where nothing is told."""

    port: int = 0
    answers: dict[str, bytes] = field(default_factory=dict)
    hanging: set[str] = field(default_factory=set)
    """Paths whose connection stays open, and silent, after the answer."""
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)
    working: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def place(self) -> str:
        """For the `names` of a fetcher."""
        return f"127.0.0.1:{self.port}"

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.working.add(asyncio.ensure_future(self.serve(reader, writer)))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            asked = await received(reader)
            self.asked.append(asked)
            path = asked.path.partition("?")[0]
            writer.write(self.answers.get(path, answer(status=404)))
            await writer.drain()
            if path in self.hanging:
                await self.over.wait()
        writer.transport.abort() if self.over.is_set() else writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def received(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ")
    pairs = [line.split(": ", 1) for line in head[1:] if line]
    headers = {name.lower(): value for name, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Asked(method, path, headers, body)


@asynccontextmanager
async def site(
    context: ssl.SSLContext | None = None, *, address: str = "127.0.0.1"
) -> AsyncIterator[Site]:
    """A server on loopback, over TLS where a context is given."""
    made = Site()
    server = await asyncio.start_server(made.accept, address, 0, ssl=context, limit=LONGEST)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        made.over.set()
        server.close()
        await asyncio.gather(*made.working)
