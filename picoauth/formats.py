"""What a text of the settings has to look like. Each check raises ValueError, repeating no value."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

LOOPBACK = ("127.0.0.1", "localhost", "::1")
USUAL = {"http": 80, "https": 443}


def check_url(url: str) -> None:
    """The issuer: compared byte for byte, and the base of every link."""
    parts = split(url)
    if parts is None:
        raise ValueError("must be a URL such as https://auth.example.com, in lower case")
    if parts.query or parts.fragment or "@" in parts.netloc or url[-1] in "/?#":
        raise ValueError("must end without a slash, and have no user, query or fragment")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ValueError("must begin with https:// (http:// is for loopback only)")
    if parts.port == USUAL[parts.scheme]:
        raise ValueError(f"must be without :{parts.port}, which browsers leave out")


def check_origin(origin: str) -> None:
    """As browsers send it: without a port that goes without saying."""
    parts = split(origin)
    if (
        parts is None
        or "@" in parts.netloc
        or origin != f"{parts.scheme}://{parts.netloc}"
        or parts.port == USUAL[parts.scheme]
    ):
        raise ValueError("must be an origin such as https://example.com, in lower case")


def split(url: str) -> SplitResult | None:
    """The parts of a web address whose scheme and host have their one spelling."""
    try:
        parts = urlsplit(url)
        good = parts.hostname and (parts.port or 1)
    except ValueError:
        return None
    start = f"{parts.scheme}://{parts.netloc.lower()}"
    plain = url.isascii() and url.isprintable() and " " not in url and url.startswith(start)
    return parts if good and plain and parts.scheme in ("http", "https") else None


def check_network(network: str) -> None:
    if network != "unix":
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            wanted = 'an address, a network such as 10.0.0.0/8, or "unix"'
            raise ValueError(f"must be {wanted}") from error


def check_host(host: str) -> None:
    try:
        ipaddress.ip_address(host)
    except ValueError as error:
        if not re.fullmatch(r"[A-Za-z0-9._-]+", host):
            raise ValueError(
                "must be a name such as auth.example.com, without scheme, port and path"
            ) from error


def check_address(address: str) -> None:
    if not re.fullmatch(r"unix:.+|tcp:.*:[0-9]{1,5}", address):
        raise ValueError("must be an address such as unix:/run/picoauth.sock or tcp:127.0.0.1:8100")


def check_mode(mode: str) -> None:
    if mode.strip("01234567"):
        raise ValueError('must be an octal number such as "0660"')


def check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise ValueError('must be a name such as "password"')


def check_unique(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f'names "{name}" twice')
