"""The table of routes: who may call each, and what it takes and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any

from picoauth import FORM, AuthError, Config, Reply, Request, Route, problems
from picoauth_privateauth import authorize, builtin, discovery, shapes
from picoauth_privateauth.authorize import Authorization
from picoauth_privateauth.builtin import BuiltIn
from picoauth_privateauth.consent import Consent
from picoauth_privateauth.discovery import Discovery
from picoauth_privateauth.exchange import Exchange
from picoauth_privateauth.granted import Granted
from picoauth_privateauth.me import Me
from picoauth_privateauth.problems import (
    CLIENT_REFUSED,
    CLIENT_TOKEN_INVALID,
    INSUFFICIENT_SCOPE,
    INVALID_GRANT,
    INVALID_REQUEST,
    INVALID_SCOPE,
    NO_PROFILE,
    PERMISSION_MISSING,
    PROFILE_REFUSED,
    PROFILE_TAKEN,
    REDIRECT_REFUSED,
    REQUEST_DECIDED,
    UNSUPPORTED_GRANT_TYPE,
)

CODE = (INVALID_REQUEST, INVALID_GRANT, UNSUPPORTED_GRANT_TYPE)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What answers."""

    discovery: Discovery
    authorization: Authorization
    consent: Consent
    exchange: Exchange
    me: Me
    granted: Granted
    page: BuiltIn | None


def routes(parts: Parts, config: Config, *, pages: bool) -> Sequence[Route]:
    found = [*protocol(parts, Openly(config)), *users(parts)]
    if pages:
        found.append(profile_page(parts))
    return [*found, *(built_in(parts.page) if parts.page else ())]


class Openly:
    """Lets applications that live in a browser call from anywhere, by no cookie (Fetch standard)."""

    def __init__(self, config: Config) -> None:
        self.listed = config.cors_origins

    def headers(self, request: Request) -> Mapping[str, str]:
        """Of an origin that the settings name, the kernel says more; that and `*` are no pair."""
        if request.headers.get("origin") in self.listed:
            return {}
        return {"Access-Control-Allow-Origin": "*"}

    def __call__(self, handler: Any) -> Any:
        @wraps(handler)
        async def handle(request: Request) -> Reply:
            headers = self.headers(request)
            try:
                reply: Reply = await handler(request)
            except AuthError as refusal:
                refusal.headers.update(headers)
                raise
            return replace(reply, headers={**reply.headers, **headers})

        return handle

    async def preflight(self, request: Request) -> Reply:
        """What a browser asks before it lets a page of another site call."""
        allowed = {
            "Access-Control-Allow-Methods": "GET, POST",
            "Access-Control-Allow-Headers": "authorization, content-type, x-privateauth-version",
            "Access-Control-Max-Age": "600",
        }
        return Reply(None, 204, {**allowed, **self.headers(request)})


def protocol(parts: Parts, openly: Openly) -> list[Route]:
    """For clients and resource servers, as the specifications name and word everything."""
    exchange = parts.exchange

    def post(path: str, handler: Any, policy: str = "public", **more: Any) -> Route:
        return Route(
            method="POST",
            path=f"/indieauth/{path}",
            handler=handler,
            policy=policy,
            body=dict,
            accepts=(FORM,),
            errors="oauth",
            **more,
        )

    def get(path: str, handler: Any, **more: Any) -> Route:
        return Route(
            method="GET", path=path, handler=handler, policy="public", errors="oauth", **more
        )

    preflights = [
        Route(
            method="OPTIONS",
            path=f"/indieauth/{path}",
            handler=openly.preflight,
            policy="public",
            status=204,
        )
        for path in ("authorize", "token", "userinfo")
    ]
    token: dict[str, Any] = {"known": shapes.TokenForm, "problems": (INVALID_REQUEST,)}
    return [
        get(discovery.PATH, openly(parts.discovery.metadata), answer=shapes.Metadata),
        get(
            "/indieauth/authorize",
            parts.authorization.authorize,
            query=authorize.QUERY,
            status=303,
            problems=(CLIENT_REFUSED, REDIRECT_REFUSED),
        ),
        post(
            "authorize",
            openly(exchange.identity),
            known=shapes.CodeForm,
            answer=shapes.Identity,
            problems=CODE,
        ),
        post(
            "token",
            openly(exchange.token),
            known=shapes.CodeForm,
            answer=shapes.Handed,
            problems=(*CODE, INVALID_SCOPE),
        ),
        post(
            "introspect",
            exchange.introspect,
            "resource_server",
            answer=shapes.Introspection,
            **token,
        ),
        post("revoke", openly(exchange.revoke), answer=dict, **token),
        get(
            "/indieauth/userinfo",
            openly(exchange.userinfo),
            answer=dict,
            problems=(CLIENT_TOKEN_INVALID, INSUFFICIENT_SCOPE),
        ),
        *preflights,
    ]


def users(parts: Parts) -> list[Route]:
    """For users, by the pages of the operator."""
    consent, me, granted = parts.consent, parts.me, parts.granted

    def route(method: str, path: str, handler: Any, **more: Any) -> Route:
        settings = {"policy": "session", **more}
        return Route(method=method, path=f"/indieauth/{path}", handler=handler, **settings)

    late = (problems.NOT_FOUND, REQUEST_DECIDED)
    decided = {"answer": shapes.Decided}
    person = {"answer": shapes.PersonShown}
    changed = (PROFILE_REFUSED, PROFILE_TAKEN, problems.STEPUP_NEEDED, problems.NOT_FOUND)
    return [
        route("GET", "requests/{id}", consent.show, answer=shapes.RequestShown, problems=late),
        route(
            "POST",
            "requests/{id}/approve",
            consent.approve,
            body=shapes.Approval,
            problems=(*late, PERMISSION_MISSING, NO_PROFILE),
            **decided,
        ),
        route("POST", "requests/{id}/deny", consent.deny, problems=late, **decided),
        route("GET", "me", me.show, problems=(problems.NOT_FOUND,), **person),
        route("PUT", "me", me.replace, body=shapes.PersonWanted, problems=changed, **person),
        route("GET", "grants", granted.show, answer=shapes.GrantsShown),
        route("DELETE", "grants/{id}", granted.end, status=204, problems=(problems.NOT_FOUND,)),
    ]


def profile_page(parts: Parts) -> Route:
    return Route(
        method="GET",
        path="/u/{username}",
        handler=parts.discovery.profile,
        policy="public",
        answer=str,
        media="text/html",
        problems=(problems.NOT_FOUND,),
    )


def built_in(page: BuiltIn) -> list[Route]:
    """The built-in page: forms, which look at where they come from themselves."""
    return [
        Route(
            method="GET",
            path=builtin.PATH,
            handler=page.show,
            policy="public",
            query=builtin.QUERY,
            answer=str,
            media="text/html",
        ),
        Route(
            method="POST",
            path=builtin.PATH,
            handler=page.take,
            policy="public",
            body=dict,
            known=shapes.PageForm,
            accepts=(FORM,),
            answer=str,
            media="text/html",
            also=(303,),
        ),
    ]
