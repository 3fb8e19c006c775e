"""The table `[indieauth-login]` of `picoauth.toml`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from picoauth import AuthError, Seconds, described
from picoauth_fetch import web
from picoauth_indieauth_login.profiles import canonical

NAME = re.compile(r"[a-z0-9-]{1,64}")
APPLICATION = re.compile(r"[a-z0-9._-]{1,64}")
PERMISSION = re.compile(r"[A-Za-z0-9._:-]{1,128}")
PAGE = re.compile(
    r"(https://[a-z0-9._-]+(:[0-9]{1,5})?|http://(localhost|127\.0\.0\.1)(:[0-9]{1,5})?)?"
    r"/(?!/)[\w.~/%-]*",
    re.ASCII,
)
REDIRECT = "must be https, or http on this machine, without a fragment"


def check_page(page: str) -> None:
    if not PAGE.fullmatch(page):
        raise ValueError(
            'must be a path such as "/login/", or a page such as https://app.example.com/login/, '
            "without query and fragment"
        )


def check_own(url: str) -> None:
    """A URL to which nobody else has the way: of the operator's own choice."""
    found = web.web(url)
    if not web.is_secure(found):
        raise ValueError(REDIRECT)


def check_issuer(url: str) -> None:
    if not url.startswith("https://") or "?" in url or "#" in url:
        raise ValueError("must be an https:// URL without query and fragment (RFC 9207)")


def check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise ValueError("must be a name such as home, in lower case")


def check_application(text: str) -> None:
    if not APPLICATION.fullmatch(text):
        raise ValueError("must be what its permissions begin with, such as media, in lower case")


def check_permission(text: str) -> None:
    if not PERMISSION.fullmatch(text):
        raise ValueError("must be a permission such as media:watch")


def check_profile(text: str) -> None:
    try:
        canonical(text)
    except AuthError as error:
        raise ValueError("must be a profile URL such as https://ann.example.com/") from error


@dataclass(frozen=True)
class TrustedEndpoint:
    """One of `[[indieauth-login.endpoints]]`: who vouches for people without a domain."""

    name: str = described("What the login page calls it.", check=check_name, example="home")
    url: str = described(
        "Its authorization endpoint.",
        check=check_own,
        example="https://auth.example.com/indieauth/authorize",
    )
    issuer: str | None = described(
        "Its issuer, where it names one; answers of another are refused then.",
        default=None,
        check=check_issuer,
    )
    required_permission: str | None = described(
        "Only people who hold it get in.", default=None, check=check_permission
    )
    application: str | None = described(
        "What this application's permissions begin with, there.",
        default=None,
        check=check_application,
    )
    permissions: tuple[str, ...] = described(
        "Those that there are of this application; others are reported.",
        default=(),
        each=check_permission,
    )
    register: bool = described("Whether people that it sends get an account.", default=False)
    response_type: Literal["code", "id"] = described(
        "`id` for an endpoint that knows nothing newer.", default="code"
    )


def check_endpoints(endpoints: Sequence[TrustedEndpoint]) -> None:
    """Two with one URL would tell the same people different things."""
    for members in ([e.name for e in endpoints], [e.url for e in endpoints]):
        for one in members:
            if members.count(one) > 1:
                raise ValueError(f"has {one} twice")


@dataclass(frozen=True)
class IndieAuthLoginSettings:
    """The table `[indieauth-login]`."""

    domains: bool = described("Whether people log in with domains of their own.")
    page: str = described(
        "Your page where browsers come back to, with what they bring behind #.",
        default="/login/",
        check=check_page,
    )
    redirect_uri: str | None = described(
        "A page of yours in the place of the plugin's route, if it reads the query itself.",
        default=None,
        check=check_own,
    )
    client_name: str | None = described(
        "What endpoints call this application; the host of `public_url` if unset.",
        default=None,
        least=1,
        most=100,
    )
    registration: Literal["link-only", "listed", "open"] = described(
        "Who gets an account by a domain: nobody, those of `listed`, or all.", default="link-only"
    )
    listed: tuple[str, ...] = described(
        "Domains that get an account.", default=(), each=check_profile
    )
    endpoints: tuple[TrustedEndpoint, ...] = described(
        "Endpoints that you trust, each in a table `[[indieauth-login.endpoints]]`.",
        default=(),
        check=check_endpoints,
    )
    http_profiles: bool = described("Whether domains without https will do.", default=False)
    private: bool = described(
        "Whether domains within your own network are looked at.", default=False
    )
    timeout: Seconds = described(
        "Each answer must be there in.", default=Seconds(3), least=1, most=10
    )
    limit: int = described("Most bytes of an answer.", default=262144, least=5120, most=1048576)
    starts: int = described(
        "Logins a minute that may begin at one host.", default=30, least=1, most=10000
    )
    most: int = described("Most links of one account.", default=10, least=1, most=100)

    def __post_init__(self) -> None:
        """Raises ValueError for what lets nobody in."""
        if not self.domains and not self.endpoints:
            raise ValueError("has domains = false and no endpoints, so that nobody could log in")
        if self.listed and self.registration != "listed":
            raise ValueError('has domains in listed, which goes with registration = "listed"')
