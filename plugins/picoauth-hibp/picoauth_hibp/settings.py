"""The table `[hibp]`, and what may stand there."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from picoauth import Seconds, described

Mode: TypeAlias = Literal["offline", "online"]
OnError: TypeAlias = Literal["offline", "allow", "deny"]


def check_url(url: str) -> None:
    """Raises ValueError for what is not over TLS, except on this machine."""
    try:
        parts = urlsplit(url)
        port_is_right = parts.port != 0
    except ValueError:
        port_is_right = False
    if not (port_is_right and url.isascii() and url.isprintable() and " " not in url):
        raise ValueError("must be an address such as https://api.pwnedpasswords.com/range/")
    if parts.query or parts.fragment or "@" in parts.netloc or not parts.hostname:
        raise ValueError("must be an address without a user, a query or a fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise ValueError("must begin with https://, or with http:// on this machine")


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class HibpSettings:
    """`[hibp]`: which lists are asked, and what happens where one does not answer."""

    mode: Mode = described(
        "`online` also asks the range API of Pwned Passwords.", default="offline"
    )
    filter: Path | None = described(
        "The file that `picoauth hibp build` made of the public breach list.", default=None
    )
    words: tuple[str, ...] = described("More names that are no passwords here.", default=())
    url: str = described(
        "The range API, or a mirror of it.",
        default="https://api.pwnedpasswords.com/range/",
        check=check_url,
    )
    ca: Path | None = described(
        "A file with the certificates that are trusted there, instead of the system's.",
        default=None,
    )
    on_error: OnError = described(
        "What decides while the API does not answer: the filter, nothing more, or a refusal.",
        default="offline",
    )
    patience_ms: int = described(
        "Milliseconds that the API may take.", default=1500, least=10, most=1500
    )
    failures: int = described(
        "Failures in a row after which the API is left alone.", default=5, least=1, most=100
    )
    pause: Seconds = described("For so long.", default=Seconds(60), least=1, most=3600)
