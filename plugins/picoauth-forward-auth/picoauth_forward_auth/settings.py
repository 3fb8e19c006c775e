"""The table `[forward-auth]` of `picoauth.toml`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from picoauth import Seconds, described

HOST = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*(:[0-9]{1,5})?")
PAGE = re.compile(
    r"(https://[a-z0-9._-]+|http://(localhost|127\.0\.0\.1))(:[0-9]{1,5})?/[\w.~/%-]*", re.ASCII
)
ORIGIN = re.compile(r"https://[a-z0-9._-]+(:[0-9]{1,5})?")

Header = Literal["user", "id", "email", "name", "amr"]
HEADERS: tuple[Header, ...] = ("user", "id", "email", "name", "amr")


def check_host(host: str) -> None:
    if not HOST.fullmatch(host):
        raise ValueError(
            "must be a host such as wiki.example.com, or *.example.com for all below one, in "
            "lower case, with its port if that is not 443"
        )


def check_page(url: str) -> None:
    if not PAGE.fullmatch(url):
        raise ValueError(
            "must be a page such as https://auth.example.com/login/, without query and fragment"
        )


def check_origin(origin: str) -> None:
    if not ORIGIN.fullmatch(origin):
        raise ValueError("must be an origin such as https://example.com, in lower case")


@dataclass(frozen=True)
class ForwardAuthSettings:
    """The table `[forward-auth]`."""

    hosts: tuple[str, ...] = described(
        "Hosts that are protected; none else is ever returned to.", least=1, each=check_host
    )
    login_url: str | None = described(
        "Page where people log in; without one, everybody else gets 401.",
        default=None,
        check=check_page,
    )
    headers: tuple[Header, ...] = described(
        "What the application is told of the user, by X-Auth-User and so on.", default=HEADERS
    )
    encoding: Literal["utf-8", "percent"] = described(
        "How these headers are written; `percent` for what takes only ASCII.", default="utf-8"
    )
    origins: tuple[str, ...] = described(
        "Origins of pages that may change things on protected hosts, beside these hosts themselves.",
        default=(),
        each=check_origin,
    )
    ticket_life: Seconds = described(
        "The way back from a login to another host takes at most.",
        default=Seconds(60),
        least=5,
        most=60,
    )
