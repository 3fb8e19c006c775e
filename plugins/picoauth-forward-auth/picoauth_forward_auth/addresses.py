"""What a proxy says that a browser asked for, and where a browser may be sent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from picoauth import AuthError, Config, EdgeRequest, Problem

UNKNOWN_SITE = Problem(403, "unknown_site", "This address is not protected here.", logged=True)
"""Some proxies hide from the browser why: the log does not."""

OURS = "/_picoauth/"
"""Paths of every protected host that are answered here, and never reach its application."""
SECURE = (b"https", b"wss")
PATH = re.compile(r"/[A-Za-z0-9\-._~:/?@!$&'()*+,;=%\[\]|{}^\"]{0,2047}")
"""Printable ASCII, as browsers send it; no backslash, which some read as a slash, no fragment."""
HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*(?::[0-9]{1,5})?")
ADDRESS = re.compile(rf"https://({HOST.pattern})({PATH.pattern})")
"""The one way in which an address is read: no user, no other scheme, nothing before the host."""


@dataclass(frozen=True)
class Address:
    """A page of a protected host."""

    host: str
    path: str
    """With the query."""

    def __str__(self) -> str:
        return f"https://{self.host}{self.path}"

    def top(self) -> Address:
        return Address(self.host, "/")


@dataclass(frozen=True)
class Asked:
    """What a browser asked a protected host for."""

    method: str
    address: Address
    headers: Mapping[bytes, bytes]

    @property
    def ours(self) -> bool:
        return self.address.path.startswith(OURS)

    @property
    def is_socket(self) -> bool:
        return b"sec-websocket-key" in self.headers

    @property
    def is_page(self) -> bool:
        """Whether a person looks at the answer, whom a redirect helps; a program wants a 401."""
        headers = self.headers
        navigates = headers.get(b"sec-fetch-mode", b"navigate") == b"navigate"
        scripted = b"x-requested-with" in headers or self.bearer is not None or self.is_socket
        accepts = b"text/html" in headers.get(b"accept", b"")
        return self.method == "GET" and navigates and accepts and not scripted

    @property
    def bearer(self) -> str | None:
        """The header of a token; not one of the application's own ways, such as `Basic`."""
        authorization = self.text(b"authorization")
        return authorization if authorization.lower().startswith("bearer ") else None

    def text(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin-1")


class Hosts:
    """The hosts that are protected."""

    def __init__(self, names: Sequence[str], config: Config) -> None:
        self.exact = {name for name in names if not name.startswith("*")}
        self.below = tuple(name[1:] for name in names if name.startswith("*"))
        self.public = urlsplit(config.public_url).hostname
        self.domain = (config.cookies.domain or "").lower().strip(".")

    def check(self, host: str) -> None:
        """Raises AuthError for a host that is none of ours, or none (`evil.com/.example.com`)."""
        listed = host in self.exact or host.endswith(self.below)
        if not listed or not HOST.fullmatch(host):
            raise AuthError(UNKNOWN_SITE, f"The setting `hosts` does not have {host[:253]!r}.")

    def direct(self, host: str) -> bool:
        """Whether browsers send it the cookie of the login itself."""
        name = host.partition(":")[0]
        return name in (self.public, self.domain) or (
            self.domain != "" and name.endswith(f".{self.domain}")
        )

    def address(self, text: str) -> Address:
        """A return address. Raises AuthError for one that is none of ours."""
        match = ADDRESS.fullmatch(text)
        if match is None:
            raise AuthError(UNKNOWN_SITE, "A return address begins with https:// and a host.")
        self.check(match[1])
        return Address(match[1], match[2])

    def asked(self, request: EdgeRequest) -> Asked:
        """What the proxy says. Raises AuthError for what is not asked by https of one of ours.

        A path that cannot be said in a redirect is replaced by the top: it decides nothing.
        """
        headers = request.headers
        if headers.get(b"x-forwarded-proto") not in SECURE:
            raise AuthError(UNKNOWN_SITE, "Only what is asked for by https is protected here.")
        names = (b"x-forwarded-method", b"x-forwarded-host", b"x-forwarded-uri")
        method, host, path = (headers.get(name, b"").decode("latin-1") for name in names)
        host = host.lower()
        self.check(host)
        return Asked(method, Address(host, path if PATH.fullmatch(path) else "/"), headers)
