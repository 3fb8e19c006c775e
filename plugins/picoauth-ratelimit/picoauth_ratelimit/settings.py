"""The settings: how often one address may do what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network

from picoauth import described

RATE = re.compile("([0-9]{1,6})/([0-9]{1,4})?([smhd])")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
OFF = "off"
FASTEST = 100
"""Times a second, at most."""
LONGEST = 7 * 86400
WANTED = 'must be a rate such as "30/1m", or "off"'


@dataclass(frozen=True)
class Rate:
    """So many times in so many seconds."""

    count: int
    seconds: int


def rate(text: str) -> Rate | None:
    """Reads `30/1m`, `20/h` or `off`, which is None. Raises ValueError."""
    if text == OFF:
        return None
    match = RATE.fullmatch(text)
    if match is None:
        raise ValueError(WANTED)
    found = Rate(int(match[1]), int(match[2] or 1) * SECONDS[match[3]])
    if not 0 < found.count <= found.seconds * FASTEST or found.seconds > LONGEST:
        raise ValueError(f"must be one at least, {FASTEST} a second and a span of 7 days at most")
    return found


def check_rate(text: str) -> None:
    rate(text)


def check_network(text: str) -> None:
    try:
        ip_network(text)
    except ValueError as error:
        raise ValueError('must be an address or a network, such as "10.0.0.0/8"') from error


def check_routes(routes: Mapping[str, str]) -> None:
    for path, group in routes.items():
        if not path.startswith("/") or group not in GROUPS:
            raise ValueError(f"must be paths with one of {', '.join(GROUPS)}")


GROUPS: Mapping[str, tuple[str, ...]] = {
    "login": ("/auth/login", "/auth/login/begin", "/auth/stepup", "/auth/stepup/begin"),
    "register": ("/auth/register", "/auth/passkey/register", "/auth/passkey/register/begin"),
    "reset": ("/auth/forgot_password", "/auth/forgot_password/{token}"),
    "codes": ("/indieauth/",),
    "admin": ("/admin/",),
    "other": ("/",),
}
"""Routes of each group; what ends with a slash is the beginning of many. The first that fits counts."""


@dataclass(frozen=True)
class RateLimitSettings:
    """`[ratelimit]`: how often one address may do what; an IPv6 network of /64 is one address."""

    login: str = described("Steps of logins, fresh proofs too.", default="60/1m", check=check_rate)
    register: str = described("Registrations.", default="20/1h", check=check_rate)
    reset: str = described(
        "Asking for a new password, and setting it.", default="30/1h", check=check_rate
    )
    codes: str = described(
        "Exchange of codes at the IndieAuth endpoint.", default="120/1m", check=check_rate
    )
    admin: str = described("Administration.", default="300/1m", check=check_rate)
    other: str = described(
        "Every other route but those of the edge.", default=OFF, check=check_rate
    )
    routes: Mapping[str, str] | None = described(
        "Routes of which group, where they are to be in another.", default=None, check=check_routes
    )
    exempt: tuple[str, ...] = described(
        "Addresses and networks without a limit.", default=(), each=check_network
    )
