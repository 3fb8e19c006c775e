"""The settings: which server, as whom, and how the way to it is protected."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from email.headerregistry import Address
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from picoauth import AuthError, Secret, described, identifier

Mode = Literal["implicit", "starttls", "none"]
IMPLICIT = 465
"""TLS from the first byte (RFC 8314, section 3.3)."""
SUBMISSION = 587
"""Clear at first, then STARTTLS (RFC 6409, RFC 3207)."""
ODD = frozenset(' "(),:;<>@[\\]')
"""What ends an address, begins another, or is a comment (RFC 5322, section 3.2.3)."""
NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")


def split(host: str) -> tuple[str, int]:
    """Name or address, and port. Raises ValueError."""
    wanted = "must be a name such as mail.example.org, or one with a port: mail.example.org:465"
    try:
        parts = urlsplit(f"//{host}")
        name, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(wanted) from error
    odd = parts.netloc != host or "@" in host or host.endswith(":") or port == 0
    if odd or not (NAME.fullmatch(name) or ip(name)):
        raise ValueError(wanted)
    return name, port or SUBMISSION


def ip(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def mailbox(text: str) -> Address:
    """One mailbox, its domain as it is looked up. Raises ValueError.

    Two of them, a line break or a comment in what becomes a command of SMTP would be somebody
    else's mail (E-1).
    """
    try:
        domain = identifier("email", text, verified=False).value.rpartition("@")[2]
    except AuthError as error:
        raise ValueError("must be one mailbox") from error
    local = text.rpartition("@")[0]
    if any(not c.isprintable() or c in ODD for c in local):  # `identifier` looked at it folded
        raise ValueError("must be one mailbox")
    return Address(username=local, domain=domain)


def sender(text: str) -> Address:
    """Reads `auth@example.org`, or `Name <auth@example.org>`. Raises ValueError."""
    match = re.fullmatch(r'"?([^<>"]*?)"? *<([^<>]+)>', text)
    name, address = match.groups() if match else ("", text)
    wanted = "must be an address such as auth@example.org, or Name <auth@example.org>"
    try:
        found = mailbox(address)
    except ValueError as error:
        raise ValueError(wanted) from error
    if not (name.isprintable() and found.username.isascii()):
        raise ValueError(wanted)
    return Address(display_name=name, username=found.username, domain=found.domain)


def check_host(host: str) -> None:
    split(host)


def check_sender(text: str) -> None:
    sender(text)


@dataclass(frozen=True)
class SmtpSettings:
    """`[smtp]`: four lines, and two for servers that are odd."""

    host: str = described(
        "The mail server; `:465` behind it is TLS from the start, any other port STARTTLS.",
        check=check_host,
        example="mail.example.org",
    )
    sender: str = described(
        "Whom mails are from: an address, or `Name <address>`.",
        most=320,
        check=check_sender,
        example="Example <auth@example.org>",
    )
    username: str | None = described("Name at the mail server.", default=None, least=1, most=320)
    password: Secret | None = described("Its password.", default=None)
    tls: Literal["auto", "implicit", "starttls", "none"] = described(
        "How the connection is encrypted; `auto` goes by the port, and leaves it out on loopback.",
        default="auto",
    )
    ca: Path | None = described(
        "File with the certificates that are trusted instead of the system's (PEM).", default=None
    )

    def __post_init__(self) -> None:
        if (self.username is None) is not (self.password is None):
            raise ValueError("username and password go together: write both, or neither")
        if self.username is not None and self.mode == "none":
            raise ValueError(
                "no password goes over a connection without TLS: "
                'leave out username and password, or tls = "none"'
            )

    @property
    def address(self) -> tuple[str, int]:
        return split(self.host)

    @property
    def loopback(self) -> bool:
        name = self.address[0]
        number = ip(name)
        return name == "localhost" or (number is not None and number.is_loopback)

    @property
    def mode(self) -> Mode:
        """On loopback nobody listens, and no certificate is for it: but a password still wants TLS."""
        if self.tls != "auto":
            return self.tls
        if self.address[1] == IMPLICIT:
            return "implicit"
        return "none" if self.loopback and self.username is None else "starttls"
