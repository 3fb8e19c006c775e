"""Reading URLs: one reading, from which the connection is made too, so that no two can differ."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import quote, urljoin, urlsplit

from picoauth_fetch.refusals import FetchRefused

MOST = 2048
"""Characters of a URL."""
PORTS = {"http": 80, "https": 443}
UNPRIVILEGED = range(1024, 65536)
"""Ports of services that anyone may start; below are mail, shells and directories."""
AUTHORITY = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:@%]+))(?::(?P<port>[0-9]{0,5}))?"
)
NAME = re.compile(
    r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
NUMBER = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")
"""What resolvers take for an address, however it is spelt (URL standard, "ends in a number")."""
HOSTLESS = "it has no host, or more than a host and a port"
KEPT = string.ascii_letters + string.digits + string.punctuation


@dataclass(frozen=True)
class Target:
    """A URL in the parts that a connection and a request need."""

    scheme: str
    host: str
    """A name in ASCII and lower case, or an address in its usual form, without brackets."""
    port: int
    path: str
    """With the query; as it goes over the wire."""

    @property
    def authority(self) -> str:
        """As `Host` has it (RFC 9110, section 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def read(url: str, *, insecure: bool) -> Target:
    """The parts of an absolute URL. Raises FetchRefused."""
    if len(url) > MOST:
        raise FetchRefused(f"it is longer than {MOST} characters")
    if not url.isprintable() or " " in url or "\\" in url:
        raise FetchRefused("it has a character that no URL has")
    try:
        parts = urlsplit(url)
        if parts.scheme not in (PORTS if insecure else ("https",)):
            raise FetchRefused(f"it is no URL of {'http or https' if insecure else 'https'}")
        host, port = located(parts.netloc)
    except ValueError as error:
        raise FetchRefused(HOSTLESS) from error
    path = quote(parts.path or "/", safe=KEPT) + (
        f"?{quote(parts.query, safe=KEPT)}" if parts.query else ""
    )
    return Target(parts.scheme, host, port or PORTS[parts.scheme], path)


def located(netloc: str) -> tuple[str, int | None]:
    """Host and port. User-info is refused: it is for deceiving readers, or a password in a URL.

    Raises FetchRefused, or ValueError for what is no address of IPv6.
    """
    found = AUTHORITY.fullmatch(netloc)
    if found is None:
        raise FetchRefused(HOSTLESS)
    port = int(found["port"]) if found["port"] else None
    if port is not None and port not in PORTS.values() and port not in UNPRIVILEGED:
        raise FetchRefused(f"its port is neither 80, 443 nor one from {UNPRIVILEGED.start}")
    return (str(IPv6Address(found["ipv6"])) if found["ipv6"] else named(found["name"])), port


def named(text: str) -> str:
    """A name as DNS has it, or an IPv4 address: in four decimal numbers, and in no other spelling."""
    host = (text if text.isascii() else punycode(text)).lower()
    if NAME.fullmatch(host) is None:
        raise FetchRefused("its host is no name")
    if NUMBER.fullmatch(host):
        try:
            return str(IPv4Address(host))
        except AddressValueError as error:
            raise FetchRefused("its host is an address in an odd spelling") from error
    return host


def punycode(text: str) -> str:
    import idna  # noqa: PLC0415 - on first use: its tables are large

    try:
        return idna.encode(text, uts46=True).decode()
    except idna.IDNAError as error:
        raise FetchRefused("its host is no name") from error


def followed(target: Target, location: str, *, insecure: bool) -> Target:
    """Where a redirect goes, by what `Location` says in Latin-1. Raises FetchRefused."""
    encoded = quote(location.encode("latin-1"), safe=KEPT)
    try:
        return read(urljoin(str(target), encoded), insecure=insecure and target.scheme == "http")
    except ValueError as error:
        raise FetchRefused(f"a redirect, and {HOSTLESS}") from error
    except FetchRefused as error:
        raise FetchRefused(f"a redirect, and {error.reason}") from error
