"""The table `[privateauth]` of `picoauth.toml`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from picoauth import Seconds, described
from picoauth_fetch import web as urls

BUILT_IN = "built-in"
PAGE = re.compile(
    r"(https://[a-z0-9._-]+|http://(localhost|127\.0\.0\.1))(:[0-9]{1,5})?/[\w.~/%-]*", re.ASCII
)
SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,64}")
"""RFC 6749, section 3.3; of a length that can be shown."""
PERMISSION = re.compile(r"[a-z0-9._:-]{1,128}")
APPLICATION = re.compile(r"[a-z0-9._-]{1,64}")


def check_page(url: str) -> None:
    if url != BUILT_IN and not PAGE.fullmatch(url):
        raise ValueError(
            'must be "built-in", or a page such as https://auth.example.com/consent/, without '
            "query and fragment"
        )


def check_scope(scope: str) -> None:
    if not SCOPE.fullmatch(scope):
        raise ValueError("must be a scope such as create, without spaces and quotes")


def check_client(text: str) -> None:
    urls.client_id(text)


def check_redirect(text: str) -> None:
    urls.redirect(text)


def check_permission(text: str) -> None:
    if not PERMISSION.fullmatch(text):
        raise ValueError("must be a permission such as media:watch, in lower case")


def check_application(text: str) -> None:
    if not APPLICATION.fullmatch(text):
        raise ValueError("must be what its permissions begin with, such as media, in lower case")


@dataclass(frozen=True)
class RegisteredClient:
    """One of `[[privateauth.clients]]`: a client that the operator knows."""

    client_id: str = described(
        "Its URL, as it names itself.", example="https://media.example.com/", check=check_client
    )
    name: str = described("What users are told that it is.", least=1, most=100, example="Media")
    redirect_uris: tuple[str, ...] = described(
        "Where it may send browsers back to, to the letter.", least=1, each=check_redirect
    )
    pkce: Literal["required", "optional"] = described(
        "`optional` for one that knows no PKCE; it learns who a user is, and gets no tokens.",
        default="required",
    )
    legacy: bool = described(
        "Whether it asks without `response_type`, as PrivateAuth clients do.", default=False
    )
    application: str | None = described(
        "It is told the permissions that begin with this and a colon; of none if unset, unless "
        "it requires one.",
        default=None,
        check=check_application,
    )
    required_permission: str | None = described(
        "Only users who hold it get in.", default=None, check=check_permission
    )

    def __post_init__(self) -> None:
        """Whoever steals a code that no PKCE protects gets in with it: so nobody may read it."""
        if self.pkce == "optional":
            for uri in self.redirect_uris:
                if not urls.is_secure(urls.redirect(uri)):
                    raise ValueError(
                        'has pkce = "optional", and a redirect that is neither https nor loopback'
                    )
        if self.legacy and self.pkce == "required":
            raise ValueError('has legacy = true, which goes with pkce = "optional"')


def check_clients(clients: Sequence[RegisteredClient]) -> None:
    known = [str(urls.client_id(client.client_id)) for client in clients]
    for name in known:
        if known.count(name) > 1:
            raise ValueError(f"has {name} twice")


@dataclass(frozen=True)
class PrivateAuthSettings:
    """The table `[privateauth]`."""

    consent_url: str = described(
        'Your page where users are asked, or "built-in" for the one that comes along.',
        check=check_page,
    )
    clients: tuple[RegisteredClient, ...] = described(
        "Clients that you know, each in a table `[[privateauth.clients]]`.",
        default=(),
        check=check_clients,
    )
    open_clients: bool = described(
        "Whether others may ask, too: any application that has a URL.", default=True
    )
    http_clients: Literal["loopback", "all"] = described(
        "Which clients may be without https.", default="loopback"
    )
    fetch_clients: bool = described(
        "Whether the URL of a client that you don't know is looked at.", default=True
    )
    fetch_timeout: Seconds = described(
        "A client's page must be there in.", default=Seconds(3), least=1, most=10
    )
    fetch_limit: int = described(
        "Most bytes of a client's page.", default=65536, least=5120, most=262144
    )
    fetches: int = described(
        "Pages of clients that are got from one host in a minute.",
        default=30,
        least=1,
        most=10000,
    )
    cache: Seconds = described(
        "How long a client's page is remembered that does not say it itself.",
        default=Seconds(300),
        least=0,
        most=86400,
    )
    scopes: tuple[str, ...] = described(
        "What clients may ask for.", default=("profile", "email"), each=check_scope
    )
    request_life: Seconds = described(
        "A user may take so long to decide.", default=Seconds(600), least=60, most=3600
    )
    code_life: Seconds = described(
        "A client has to redeem its code in.", default=Seconds(60), least=5, most=60
    )
    token_life: Seconds = described(
        "Life of a client's access token.", default=Seconds(3600), least=60, most=86400
    )
    refresh_life: Seconds = described(
        "A client's refresh token that nobody uses ends after.",
        default=Seconds(30 * 86400),
        least=3600,
    )
    profile_pages: bool = described(
        "Whether `/u/{username}` is a page that clients find the endpoint by.", default=True
    )
