"""Bodies and answers of the routes for users' pages, as types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from picoauth import described

CLIENT_ID = "https://app.example/"
REDIRECT = "https://app.example/callback"
ME = "https://auth.example/u/ann"
OWN = "https://ann.example/"
shape = dataclass(init=False, repr=False, eq=False)
"""Of these none is ever made."""


@shape
class ClientShown:
    """An application that asks, as the user is to see it."""

    client_id: str = described("Its URL; show it whole.", example=CLIENT_ID)
    name: str | None = described("What it calls itself.", example="App")
    logo_uri: str | None = described("Its picture, as a `data:` URL.", example=None)
    client_uri: str | None = described("A page about it.", example=CLIENT_ID)
    source: Literal["metadata", "h-app", "html", "registered", "loopback", "none"] = described(
        "Where that comes from."
    )
    verified: bool = described(
        "Whether it comes from the operator, or by https from its URL.", example=True
    )
    warnings: tuple[str, ...] = described("What to tell the user.", example=[])


@shape
class RequestShown:
    """A request of a client that waits for its user."""

    id: str = described("Its id.", example="p0JmVn2eT4l0QyZyqzqH8w3p2bX5cK7dF9gH1jL3nM4")
    expires_at: int = described("Seconds since 1970.", example=1_800_000_600)
    client: ClientShown = described("Who asks.")
    redirect_uri: str = described("Where the browser goes afterwards.", example=REDIRECT)
    scopes: tuple[str, ...] = described("What it asks for.", example=["profile"])
    me_hint: str | None = described("Whom it supposes; not believed.", example=None)
    profiles: tuple[str, ...] = described("Who the user may be to it.", example=[ME, OWN])
    pkce: bool = described("Whether a code that was stolen is of no use.", example=True)
    flow: Literal["indieauth", "privateauth"] = described("How it asks.")
    permitted: bool = described("Whether the user gets in there at all.", example=True)
    required_permission: str | None = described("What that takes.", example=None)
    tells: tuple[Literal["username", "name", "permissions"], ...] = described(
        "What the client gets to know in any case.", example=["username"]
    )


@dataclass(frozen=True)
class Approval:
    """The body of `POST /indieauth/requests/{id}/approve`."""

    scopes: tuple[str, ...] | None = described(
        "Of those that are asked for; all by default.", default=None, example=["profile"]
    )
    me: str | None = described(
        "One of the user's profile URLs; the first by default.", default=None, example=ME
    )


@shape
class Decided:
    """Where to send the browser."""

    redirect_to: str = described(
        "The client's URL, with what it waits for.",
        example=f"{REDIRECT}?code=p0JmVn2e&state=x&iss=https%3A%2F%2Fauth.example%2F",
    )


@shape
class PersonShown:
    """What clients may get to know of a user."""

    username: str | None = described(
        "User name, in the form in which it is compared.", example="ann"
    )
    name: str | None = described("Name; `PATCH /auth/me` changes it.", example="Ann Smith")
    shortName: str | None = described(  # noqa: N815 - as PrivateAuth spells it
        "A short name, for PrivateAuth clients.", example="Ann"
    )
    photo: str | None = described("URL of a picture.", example=None)
    given: str | None = described("The profile URL that the endpoint gives.", example=ME)
    urls: tuple[str, ...] = described("Profile URLs of the user's own.", example=[OWN])


@dataclass(frozen=True)
class PersonWanted:
    """The body of `PUT /indieauth/me`: what is left out is emptied."""

    shortName: str | None = described(  # noqa: N815 - as PrivateAuth spells it
        "A short name, for PrivateAuth clients.", default=None, least=1, most=50, example="Ann"
    )
    photo: str | None = described("URL of a picture.", default=None, most=2048)
    urls: tuple[str, ...] = described(
        "Profile URLs of the user's own; new ones are looked at.", default=(), example=[]
    )


@shape
class GrantShown:
    """What a user lets a client do."""

    id: str = described("Its id.", example="01d3gq8f7k4p2c9v6b1n8m3r5t0d7h2e")
    client_id: str = described("The client.", example=CLIENT_ID)
    name: str = described("What it called itself.", example="App")
    scopes: tuple[str, ...] = described("What the user approved last.", example=["profile"])
    created_at: int = described("Seconds since 1970.", example=1_800_000_000)
    approved_at: int = described("When the user was last asked.", example=1_800_000_000)
    used_at: int | None = described("When it last came with a code.", example=1_800_000_010)
    tokens: int = described("How many logins of it can go on without asking.", example=1)


@shape
class GrantsShown:
    """All grants of a user."""

    grants: tuple[GrantShown, ...] = described("The one used last comes first.")


@shape
class Metadata:
    """What clients know the endpoint by (IndieAuth, section 4.1.1; RFC 8414)."""

    issuer: str = described("Whom answers are from.", example="https://auth.example/")
    authorization_endpoint: str = described(
        "Where browsers are sent.", example="https://auth.example/indieauth/authorize"
    )
    token_endpoint: str = described(
        "Where codes become tokens.", example="https://auth.example/indieauth/token"
    )


@shape
class Identity:
    """Who logged in (IndieAuth, section 5.3.2; PrivateAuth)."""

    me: str = described("The user's profile URL.", example=ME)


@shape
class Handed:
    """Tokens of a client (IndieAuth, section 5.3.3)."""

    access_token: str = described("For resource servers.", example="0dY6cT9eT4l0QyZyqzqH8w")
    token_type: Literal["Bearer"] = described("How it is sent.")
    expires_in: int = described("Seconds.", example=3600)
    refresh_token: str = described("Good once.", example="8w3p2bX5cK7dF9gH1jL3nM")
    scope: str = described("What it is good for.", example="profile")
    me: str = described("The user's profile URL.", example=ME)


@shape
class Introspection:
    """What a resource server is told of a token; of one that is not good, only that."""

    active: bool = described("Whether it is good.", example=True)


@shape
class CodeForm:
    """What comes with a code."""

    grant_type: Literal["authorization_code"] = described("May be left out for an identity.")
    code: str = described("The code.", example="p0JmVn2eT4l0QyZyqzqH8w")
    client_id: str = described("The client.", example=CLIENT_ID)
    redirect_uri: str = described("Where it came to.", example=REDIRECT)
    code_verifier: str | None = described(
        "What the challenge is the hash of.", example="dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    )


@shape
class PageForm:
    """What the built-in page's forms send."""

    request: str = described("Id of the request.", example="p0JmVn2eT4l0QyZyqzqH8w")
    do: Literal["login", "approve", "deny", "logout"] = described("Which button.")
    username: str | None = described("At a login.", example="ann")
    password: str | None = described("At a login.", example="correct horse battery staple")
    token: str | None = described("At a decision: only the page has it.", example="5f0c4de1")


@shape
class TokenForm:
    """A token."""

    token: str = described("Access or refresh token of a client.", example="0dY6cT9eT4l0QyZyqzqH8w")
