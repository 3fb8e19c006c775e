"""The settings of `picoauth.toml`: names, defaults, bounds and documentation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from picoauth.accountsettings import AccountSettings
from picoauth.errors import ConfigError, reason
from picoauth.formats import (
    LOOPBACK,
    check_address,
    check_host,
    check_mode,
    check_name,
    check_network,
    check_origin,
    check_unique,
    check_url,
)
from picoauth.shapes import Seconds, described

SECRET = "picoauth.secret"  # noqa: S105 - the name of a file
"""Where the root secret is, unless the settings say so."""

LONGEST_ACCESS = 900
"""Seconds that an access token may live at most (K-8)."""


@dataclass(frozen=True, repr=False)
class Secret:
    """A secret from outside the settings file: read when asked for, never shown."""

    source: str
    """Where it comes from: `env NAME` or `file PATH`; safe to print."""

    def read(self) -> bytes:
        """Raises ConfigError where the variable or the file is missing or empty."""
        kind, _, name = self.source.partition(" ")
        value = os.environb.get(name.encode(), b"") if kind == "env" else read_file(Path(name))
        if not value.strip():
            raise ConfigError(
                f"The secret from {self.source} is missing or empty: provide it there."
            )
        return value.strip()

    @property
    def path(self) -> Path | None:
        return Path(self.source[5:]) if self.source.startswith("file ") else None

    def __repr__(self) -> str:
        return f"Secret({self.source!r})"


def read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise ConfigError(f"The secret file {path} cannot be read: {reason(error)}") from error


@dataclass(frozen=True)
class TokenSettings:
    """`[tokens]`: what a login hands out, and how long it lasts."""

    algorithm: Literal["ES256", "ES512", "EdDSA", "HS256"] = described(
        "How access tokens are signed (RFC 7518, RFC 8037).", default="ES256"
    )
    audience: str | None = described(
        "`aud` of access tokens; `public_url` if unset.", default=None, least=1
    )
    key_overlap: Seconds = described(
        "A new signing key is published so long before it signs.", default=Seconds(600), least=10
    )
    access_life: Seconds = described(
        "Life of an access token.", default=Seconds(600), least=10, most=LONGEST_ACCESS
    )
    refresh: Literal["rotating", "stateless"] = described(
        "`stateless` trades theft detection for refreshing without a database.", default="rotating"
    )
    idle: Seconds = described(
        "A session not refreshed for so long has ended.", default=Seconds(14 * 86400), least=60
    )
    absolute: Seconds = described(
        "A session has ended so long after its login.", default=Seconds(90 * 86400), least=60
    )
    window: Seconds = described(
        "Within this span a refresh token may be used again: two tabs, a lost answer.",
        default=Seconds(10),
        least=0,
        most=60,
    )
    stateless_life: Seconds = described(
        "Fixed life of a stateless refresh token.", default=Seconds(86400), least=60
    )

    def ends(self, now: int) -> tuple[int, int]:
        """Idle and absolute end of a session made now; nothing moves those of a stateless one."""
        if self.refresh == "stateless":
            end = now + min(self.stateless_life, self.absolute)
            return end, end
        return now + min(self.idle, self.absolute), now + self.absolute


@dataclass(frozen=True)
class CookieSettings:
    """`[cookies]`: sessions that a browser keeps."""

    idle: Seconds = described(
        "A session that nobody used for so long has ended.", default=Seconds(7 * 86400), least=60
    )
    absolute: Seconds = described(
        "A session has ended so long after its login.", default=Seconds(30 * 86400), least=60
    )
    remember: Seconds = described(
        "The same, used or not, where the user asked to be remembered.",
        default=Seconds(90 * 86400),
        least=60,
    )
    domain: str | None = described(
        "Send the cookie to every host below this domain, too.", default=None, check=check_host
    )

    def ends(self, now: int, delivery: str) -> tuple[int, int]:
        """Idle and absolute end of a session made or used now."""
        if delivery == "remembered":
            return now + self.remember, now + self.remember
        return now + min(self.idle, self.absolute), now + self.absolute


@dataclass(frozen=True)
class LoginSettings:
    """`[logins]`: the steps between the first proof and the session."""

    flow_life: Seconds = described(
        "A login begun must be done in.", default=Seconds(300), least=10, most=600
    )
    flow_tries: int = described("Wrong answers that one login bears.", default=5, least=1, most=20)
    sessions: int = described(
        "Sessions that a user may have; a login ends the oldest above.",
        default=50,
        least=1,
        most=1000,
    )
    fresh_for: Seconds = described(
        "A proof counts as fresh for.", default=Seconds(300), least=10, most=3600
    )


@dataclass(frozen=True)
class ThrottleSettings:
    """`[throttle]`: delays after failed logins, per account and factor."""

    failures: int = described(
        "The first failure that is followed by a delay.", default=10, least=1, most=1_000_000
    )
    longest: Seconds = described("Delays double up to.", default=Seconds(900), least=1)


@dataclass(frozen=True)
class MailSettings:
    """`[mail]`: what leaves by mail."""

    templates: Path | None = described(
        "Folder with templates of your own, `PLUGIN/NAME/body.txt` and so on.", default=None
    )
    pause: Seconds = described(
        "Between two mails to one account.", default=Seconds(60), least=0, most=3600
    )
    hourly: int = described("Such mails in an hour, per account.", default=3, least=1, most=1000)
    daily: int = described("Such mails in a day, per account.", default=10, least=1, most=1000)


@dataclass(frozen=True)
class Config:
    """Everything that the kernel was told."""

    plugins: tuple[str, ...] = described(
        "The plugins that are on, in this order.", each=check_name, check=check_unique
    )
    public_url: str = described(
        "Where users reach the server: issuer of tokens, base of every link.",
        default="http://127.0.0.1:8100",
        check=check_url,
    )
    bind: tuple[str, ...] = described(
        "Where to listen.", default=("unix:picoauth.sock",), least=1, each=check_address
    )
    admin_bind: tuple[str, ...] = described(
        "Where to listen for administration.", default=(), each=check_address
    )
    socket_mode: str = described(
        "Mode of unix sockets.", default="0660", least=3, most=4, check=check_mode
    )
    socket_group: str | None = described("Group that owns unix sockets.", default=None, least=1)
    database: str = described(
        "A file, or the address of a server that a plugin speaks to.",
        default="picoauth.db",
        least=1,
    )
    secret: tuple[Secret, ...] = described(
        "The root secret, or several, newest first.", default=(), least=1
    )
    trusted_proxies: tuple[str, ...] = described(
        'Addresses or networks whose X-Forwarded-For is believed; "unix" for the unix socket.',
        default=(),
        each=check_network,
    )
    allowed_hosts: tuple[str, ...] = described(
        "Names that requests may be addressed to; by default that of `public_url`, and loopback.",
        default=(),
        each=check_host,
    )
    cors_origins: tuple[str, ...] = described(
        "Origins of pages that may call from a browser.", default=(), each=check_origin
    )
    ignore_factors: tuple[str, ...] = described(
        "Enrolled factors that no longer count, though their plugin is off.", default=()
    )
    stress: bool = described("`picoauth stress` may load this server.", default=False)
    tokens: TokenSettings = field(default_factory=TokenSettings)
    cookies: CookieSettings = field(default_factory=CookieSettings)
    logins: LoginSettings = field(default_factory=LoginSettings)
    throttle: ThrottleSettings = field(default_factory=ThrottleSettings)
    mail: MailSettings = field(default_factory=MailSettings)
    account: AccountSettings = field(default_factory=AccountSettings)
    base: Path = field(default_factory=Path.cwd, init=False)
    tables: Mapping[str, Any] = field(default_factory=dict, init=False)

    @property
    def hosts(self) -> frozenset[str]:
        """Names, without port, that requests may be addressed to."""
        own = urlsplit(self.public_url).hostname or ""
        return frozenset(host.lower() for host in (*self.allowed_hosts, own, *LOOPBACK))

    def ends(self, now: int, delivery: str) -> tuple[int, int]:
        """Idle and absolute end of a session made now, by how a client keeps it."""
        if delivery == "token":
            return self.tokens.ends(now)
        return self.cookies.ends(now, delivery)

    @property
    def audience(self) -> str:
        return self.tokens.audience or self.public_url
