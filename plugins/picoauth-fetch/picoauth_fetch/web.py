"""Which URLs clients, redirects and profiles may have (IndieAuth, sections 3.2 to 3.4)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urljoin

LONGEST = 2048
"""Characters of any URL."""
# What RFC 3986 has, and nothing that a browser would drop, or read as something else: spaces,
# tabs, backslashes.
PLAIN = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
WEB = re.compile(r"(https?)://([^/?#]*)([^?#]*)(\?[^#]*)?", re.IGNORECASE)
PLACE = re.compile(r"(\[::1\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)(?::([0-9]{1,5}))?")
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A last label that makes a browser take the host for an IPv4 address (WHATWG URL)."""
APP = re.compile(r"([a-z][a-z0-9+.-]*):[^#]+")
NEVER = frozenset({"javascript", "data", "vbscript", "file", "blob", "about"})
"""Schemes that run something in the browser, or read from its disk."""
PORTS = {"http": 80, "https": 443}
TOP_PORT = 65535
LITERALS = ("127.0.0.1", "[::1]")
"""The only addresses that a client may have in the place of a name (section 3.3)."""


@dataclass(frozen=True)
class Web:
    """A URL of http or https, in its canonical form (section 3.4)."""

    scheme: str
    host: str
    port: int
    path: str
    query: str
    """With the question mark."""

    @property
    def origin(self) -> str:
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"

    @property
    def is_loopback(self) -> bool:
        """Whether it is on the user's own machine, which nobody can reach from here."""
        return self.host in (*LITERALS, "localhost") or self.host.endswith(".localhost")

    def __str__(self) -> str:
        return f"{self.origin}{self.path}{self.query}"


def web(text: str) -> Web:
    """Raises ValueError, with what is wrong."""
    check_plain(text)
    match = WEB.fullmatch(text)
    if match is None:
        raise ValueError("must begin with https:// or http://, and have no fragment")
    scheme, place, path, query = match[1].lower(), match[2].lower(), match[3], match[4] or ""
    where = PLACE.fullmatch(place)
    if where is None:
        raise ValueError("must have a host name, and no user or password")
    port = int(where[2] or PORTS[scheme])
    if not 0 < port <= TOP_PORT or (":" in place and place.endswith(":")):
        raise ValueError("has no such port")
    host = where[1]
    if host not in LITERALS and NUMBER.fullmatch(host.rpartition(".")[2]):
        raise ValueError("must have a host name, no address")
    return Web(scheme, host, port, path or "/", query)


def check_plain(text: str) -> None:
    if len(text) > LONGEST:
        raise ValueError(f"has more than {LONGEST} characters")
    if PLAIN.fullmatch(text) is None:
        raise ValueError("has characters that no URL has")


def check_segments(path: str) -> None:
    """Dots may be written `%2e`, which browsers read alike (WHATWG URL)."""
    segments = path.lower().replace("%2e", ".").split("/")
    if {".", ".."} & set(segments):
        raise ValueError("must have no single or double dots in its path")


def client_id(text: str) -> Web:
    """What identifies a client (section 3.3). Raises ValueError."""
    found = web(text)
    check_segments(found.path)
    return found


def profile(text: str) -> Web:
    """What identifies a user (section 3.2). Raises ValueError."""
    found = client_id(text)
    if ":" in text.partition("://")[2].partition("/")[0]:
        raise ValueError("must have no port")
    if found.host in LITERALS:
        raise ValueError("must have a host name, no address")
    return found


def redirect(text: str) -> Web | None:
    """Where a browser may be sent: a web page, or None for an app by a scheme of its own.

    Raises ValueError. An app is only ever a match of what the client publishes.
    """
    check_plain(text)
    if WEB.match(text):
        return web(text)
    app = APP.fullmatch(text.lower())
    if app is None or app[1] in {*NEVER, *PORTS}:
        raise ValueError("must be a URL that a browser may be sent to, without a fragment")
    return None


def resolved(base: str, targets: Iterable[str]) -> list[str]:
    """URLs of a page, which may be relative to it, without those that are none at all."""
    made = []
    for target in targets:
        with suppress(ValueError):  # of `http://[`
            made.append(urljoin(base, target))
    return made


def is_secure(found: Web | None) -> bool:
    """Whether nobody on the way can read it: https, or this very machine (RFC 8252, 7.3)."""
    return found is None or found.scheme == "https" or found.is_loopback
