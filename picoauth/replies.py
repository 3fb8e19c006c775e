"""What the kernel's routes answer, as types; plugins that answer the same declare the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from picoauth.shapes import described

TOKEN = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIwNm0ifQ.Zm9v"  # noqa: S105 - a sample
REFRESH = "eyJ0eXAiOiJydCtqd3QiLCJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIwNm0ifQ.YmFy"
USER_ID = "01d3gq8e1v0d8c5k2m7r9b4t6n3h5f1a"
SESSION_ID = "01d3gq8f7k4p2c9v6b1n8m3r5t0d7h2e"
FACTOR_ID = "01d3gq8e1v5m2k8c4r7b9n1t3h6f0d5g"

shape = dataclass(init=False, repr=False, eq=False)
"""Of these none is ever made: all that would be generated for that costs every start 10 ms."""


@shape
class Health:
    """How the server is."""

    status: Literal["ok", "degraded"] = described("`degraded` if there is any problem.")
    ready: bool = described("Whether it can do its work.", example=True)
    problems: Mapping[str, str] = described("What is wrong, by check.", example={})
    stress: bool = described("There where the settings allow a stress test.", default=False)


@shape
class KeySet:
    """The public keys of access tokens (RFC 7517)."""

    keys: tuple[Mapping[str, Any], ...] = described(
        "JSON Web Keys.",
        example=[
            {
                "kty": "EC",
                "crv": "P-256",
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
                "kid": "5f0c4de1",
                "alg": "ES256",
                "use": "sig",
            }
        ],
    )


@shape
class Begun:
    """A login under way: the next step carries its flow."""

    flow: str = described("Good for one step.", example="o2VbJ8mWJxM3c0lq4nYt6w")
    challenge: Mapping[str, Any] = described("What the factor asks.", example={})


@shape
class AccessToken:
    """An access token (RFC 6749, section 5.1)."""

    access_token: str = described("Goes into `Authorization: Bearer`.", example=TOKEN)
    token_type: Literal["Bearer"] = described("How it is used (RFC 6750).")
    expires_in: int = described("Seconds that it lives.", example=600)


@shape
class Tokens(AccessToken):
    """An access token, and the refresh token for the next one (RFC 6749, section 5.1)."""

    refresh_token: str = described("Good for one refresh, in the default mode.", example=REFRESH)


@shape
class Identity:
    """Who is logged in, and how, in the words of an access token (RFC 9068, section 2.2)."""

    iss: str = described("Issuer: the server's public URL.", example="https://auth.example.com")
    sub: str = described("The user's id.", example=USER_ID)
    aud: str = described("Audience.", example="https://auth.example.com")
    sid: str = described("The session's id.", example=SESSION_ID)
    exp: int = described("When it ends.", example=1800000600)
    amr: tuple[str, ...] = described("How the user proved to be it (RFC 8176).", example=["pwd"])
    auth_time: int = described("When that was.", example=1800000000)
    preferred_username: str = described("User name.", default="", example="ann")
    name: str = described("Name to show.", default="", example="Ann")


@shape
class Claims(Identity):
    """What an access token says (RFC 9068, section 2.2)."""

    jti: str = described("The token's id.", example="9b1d7f3a5c2e8d4f6a0b1c3e")
    iat: int = described("When it was issued.", example=1800000000)


Handed = Tokens | Identity
"""What a login answers: tokens, or who is logged in where a cookie keeps the session."""


@shape
class Identifier:
    """What finds a user."""

    kind: str = described("`username`, `email` or another.", example="username")
    value: str = described("As it was typed.", example="ann")
    verified: bool = described("An unverified one finds nobody.", example=True)


@shape
class Me:
    """The account."""

    id: str = described("Never given to another user.", example=USER_ID)
    username: str | None = described("User name.", example="ann")
    name: str = described("Name to show.", example="Ann")
    locale: str | None = described("Language tag (RFC 5646).", example="en")
    identifiers: tuple[Identifier, ...] = described("What finds the user.")
    created_at: int = described("When it was made.", example=1800000000)
    last_login_at: int | None = described("When someone last logged in.", example=1800000000)


@shape
class ListedSession:
    """A login of a user, on some device."""

    id: str = described("The `sid` of its tokens.", example=SESSION_ID)
    current: bool = described("Whether it is the one that asks.", example=True)
    created_at: int = described("When the login was.", example=1800000000)
    used_at: int = described(
        "When its tokens were refreshed, or its end moved, on any host.", example=1800000000
    )
    expires_at: int = described("When it ends unless it is refreshed.", example=1801209600)
    amr: tuple[str, ...] = described("How the user proved to be it.", example=["pwd"])
    delivery: Literal["token", "cookie", "remembered"] = described("How the client keeps it.")
    device: str | None = described("A name to know it by.", example="Firefox on Linux")
    address: str | None = described("Where the login came from.", example="203.0.113.7")
    user_agent: str | None = described("What the client called itself.", example="curl/8.5.0")


@shape
class Sessions:
    """The sessions of a user."""

    sessions: tuple[ListedSession, ...] = described("Those that live.")


@shape
class ListedFactor:
    """A factor that a user has enrolled."""

    id: str = described("Of the enrolment.", example=FACTOR_ID)
    factor: str = described("Which one.", example="password")
    label: str | None = described("What the user calls it.")
    confirmed: bool = described("Whether it is in force.", example=True)
    confirmed_at: int | None = described("Since when.", example=1800000000)
    last_used_at: int | None = described("When it last proved something.", example=1800000000)


@shape
class Factors:
    """The factors of a user."""

    factors: tuple[ListedFactor, ...] = described("In the order of their enrolment.")


@shape
class Wrong:
    """What is wrong with one member of a body."""

    member: str = described("Which; empty for the body as a whole.", example="username")
    message: str = described("What it lacks.", example="is missing")


@shape
class Problem:
    """A refusal (RFC 9457); some have further members."""

    type: Literal["about:blank"] = described("Says that `title` is that of the code.")
    title: str = described("For people.", example="There is nothing here.")
    status: int = described("That of the answer.", example=404)
    code: str = described("For programs: it does not change.", example="not_found")
    error: str = described("The title again.", example="There is nothing here.")
    detail: str = described("What is special about this one.", default="")
    request_id: str = described("Finds it in the log.", default="", example="6d1f0b7c2a9e5d3c41")
    errors: tuple[Wrong, ...] = described("What each member lacks.", default=())
    flow: str = described("Goes on with a login that was refused.", default="")
    next: tuple[str, ...] = described("Factors that would complete the login.", default=())
    retry_after: int = described("Seconds after which to try again.", default=0)


@shape
class Step:
    """A step of a login; a factor's own members stand beside these, or under its name."""

    factor: str = described(
        "Whose members these are; the first that may start, by default.", default=""
    )
    flow: str = described("That of the step before.", default="")
    session: Literal["token", "cookie"] = described("How the session is kept.", default="token")
    remember: bool = described("Keep the cookie when the browser is closed.", default=False)
    restore: bool = described(
        "Take back that the account was closed, when all is proven.", default=False
    )


@shape
class OAuthError:
    """A refusal (RFC 6749, section 5.2), with a code of ours."""

    error: str = described("OAuth's word.", example="invalid_request")
    error_description: str = described("For people.", example="The body cannot be read.")
    code: str = described("For programs: it does not change.", example="invalid_body")
    request_id: str = described("Finds it in the log.", default="", example="6d1f0b7c2a9e5d3c41")


@shape
class Token:
    """A token to be looked at, or given up."""

    token: str = described("An access or refresh token.", least=1, example=TOKEN)
    token_type_hint: str = described("Which of them; it says so itself.", default="")


@shape
class Introspection:
    """Whether a token is good; of one that is, what it says (RFC 7662, section 2.2)."""

    active: bool = described("Whether it is good.", example=True)
    sub: str = described("The user's id.", default="", example=USER_ID)
    sid: str = described("The session's id.", default="", example=SESSION_ID)
    iss: str = described("Issuer.", default="", example="https://auth.example.com")
    exp: int = described("When it expires.", default=0, example=1800000600)
    username: str = described("User name; of access tokens.", default="", example="ann")


@shape
class Arrival:
    """A request as the server sees it."""

    address: str | None = described(
        "Who asked, by a proxy that is believed.", example="203.0.113.7"
    )
    host: str = described("`Host`.", example="auth.example.com")
    scheme: str = described("What the proxy says, or `http`.", example="https")
    peer: str | None = described("Who connected; none by a unix socket.", example="127.0.0.1")
    headers: Mapping[str, str] = described("Headers of proxies.", example={})
