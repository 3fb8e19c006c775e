"""Whom a route wants to see, and which problems it may answer: its own, and those before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from picoauth.errors import Problem
from picoauth.problems import (
    AMBIGUOUS_TOKEN,
    BAD_REQUEST,
    BODY_TOO_LARGE,
    BODY_TOO_SLOW,
    CONFLICT,
    CROSS_SITE,
    FORBIDDEN,
    HTTP_VERSION,
    INTERNAL_ERROR,
    INVALID_BODY,
    INVALID_CLIENT,
    INVALID_HOST,
    INVALID_JSON,
    INVALID_TOKEN,
    NOT_FOUND,
    READ_ONLY,
    REFUSED,
    SECOND_FACTOR_NEEDED,
    SESSION_ENDED,
    STEPUP_NEEDED,
    TOKEN_EXPIRED,
    TOKEN_MISSING,
    TOO_MANY_ATTEMPTS,
    UNAVAILABLE,
    UNSUPPORTED_MEDIA_TYPE,
    URL_TOO_LONG,
)
from picoauth.routes import JSON, AnyRoute, Route

EARLY = frozenset({AMBIGUOUS_TOKEN, BAD_REQUEST, INVALID_HOST, URL_TOO_LONG, HTTP_VERSION})
"""What is refused before any route is looked for, as problem details."""
EVERYWHERE = EARLY | {INTERNAL_ERROR, UNAVAILABLE}
READING = (BODY_TOO_SLOW, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE)
TOKEN = (TOKEN_MISSING, INVALID_TOKEN, TOKEN_EXPIRED, SESSION_ENDED)
"""What is wrong with an access token, or a refresh token."""

BEARER: Mapping[str, Any] = {"bearer": []}
COOKIE: Mapping[str, Any] = {"cookie": []}
BASIC: Mapping[str, Any] = {"basic": []}


@dataclass(frozen=True)
class Policy:
    """Who may call, in words, and how others are refused."""

    words: str
    problems: Sequence[Problem] = ()


POLICIES: Mapping[str, Policy] = {
    "": Policy(""),
    "public": Policy("Everybody may call this."),
    "flow": Policy("Everybody may call this; the `flow` of an earlier step is the credential."),
    "session": Policy("Needs an access token, or a cookie.", TOKEN),
    "fresh": Policy(
        "Needs an access token, or a cookie, of a session that was proven afresh in the last minutes: "
        "by a second factor, if one is enrolled.",
        (*TOKEN, STEPUP_NEEDED),
    ),
    "admin": Policy(
        "Needs an admin key, or an access token, or a cookie, of an administrator whose session was proven "
        "afresh by a second factor in the last minutes. The unix socket for administration needs nothing.",
        (*TOKEN, STEPUP_NEEDED, FORBIDDEN, READ_ONLY, SECOND_FACTOR_NEEDED, REFUSED),
    ),
    "resource_server": Policy(
        "Needs the key of a resource server, as bearer, or by Basic with its name.",
        (INVALID_CLIENT,),
    ),
}


def policy_name(route: AnyRoute) -> str:
    return route.policy if isinstance(route, Route) else ""


def policy_of(route: AnyRoute) -> Policy:
    """One that the kernel does not know is a plugin's; some handlers look at a token themselves."""
    policy = policy_name(route)
    if policy in ("", "public") and TOKEN_MISSING in route.problems:
        return Policy(f"Needs a token, as bearer{' or as the body' if route.body is str else ''}.")
    theirs = Policy(f"The policy `{policy}` says who may call this.", (FORBIDDEN, REFUSED))
    return POLICIES.get(policy, theirs)


def possible(route: AnyRoute) -> Sequence[Problem]:
    """Every problem, once, in an order that stays."""
    found = {*EVERYWHERE, *policy_of(route).problems, *route.problems}
    if isinstance(route, Route):
        found |= {*READING, TOO_MANY_ATTEMPTS}
        found |= set() if route.body is str else {INVALID_BODY}
        found |= {INVALID_JSON} if JSON in route.accepts and route.body is not str else set()
        found |= {NOT_FOUND} if "{" in route.path else set()
        found |= set() if route.method == "GET" else {CONFLICT}
        found |= {CROSS_SITE} if by_cookie(route) and route.method != "GET" else set()
    elif route.body is not None:
        found |= set(READING)
    return sorted(found, key=lambda problem: (problem.status, problem.code, problem.title))


def by_cookie(route: AnyRoute) -> bool:
    """Whether a browser's cookie will do."""
    return isinstance(route, Route) and route.policy in ("session", "fresh", "admin")


def security(route: AnyRoute) -> Sequence[Mapping[str, Any]]:
    """Who may miss a token needs one; where the body is one text, that may be the token."""
    if INVALID_CLIENT in possible(route):
        return [BEARER, BASIC]
    if TOKEN_MISSING not in possible(route):
        return []
    if by_cookie(route):
        nothing: Sequence[Mapping[str, Any]] = (
            [{}] if policy_name(route) == "admin" else []
        )  # over the socket
        return [BEARER, COOKIE, *nothing]
    return [BEARER, *([{}] if route.body is str else [])]
