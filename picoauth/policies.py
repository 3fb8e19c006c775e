"""Who a policy lets in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from picoauth.errors import AuthError, Denied
from picoauth.problems import AMBIGUOUS_TOKEN, FORBIDDEN, TOKEN_MISSING
from picoauth.resource_servers import ResourceServer
from picoauth.routes import Guard, Request
from picoauth.tokens import Access

if TYPE_CHECKING:
    from picoauth.auth import Auth


SAFE = ("GET", "HEAD")
"""Methods that change nothing."""


class Policies:
    """The kernel's guards; plugins add theirs by the hook `guards`."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth

    def guards(self) -> dict[str, Guard]:
        return {
            "public": self.anybody,
            "flow": self.anybody,  # the handler takes the ticket, which is the credential
            "session": self.session,
            "fresh": self.fresh,
            "resource_server": self.resource_server,
        }

    async def anybody(self, request: Request) -> Any:
        return request.caller

    async def session(self, request: Request) -> Access:
        """By token, or by cookie where there is none; and then from a page of ours (S-5)."""
        authorization, cookies = request.headers.get("authorization"), self.auth.cookies
        cookie = None if authorization else cookies.sent(request.headers.get("cookie"))
        if not cookie:
            return self.auth.tokens.check(bearer(authorization))
        if request.method not in SAFE:
            cookies.check_site(request.headers)
        return await cookies.check(cookie)

    async def fresh(self, request: Request) -> Access:
        """A proof a few minutes old at most: of a second factor, if one is enrolled (V7.5.1)."""
        access = await self.session(request)
        await self.auth.require_fresh(access)
        return access

    async def resource_server(self, request: Request) -> ResourceServer:
        return await self.auth.resource_servers.check(request.headers.get("authorization"))


async def who(auth: Auth, authorization: str, cookie: str, site: str, *, hand: bool) -> Access:
    """Whose a token is, or a cookie where there is none. Raises Denied."""
    value = None if authorization else (auth.sites if site else auth.cookies).sent(cookie)
    if not value:
        return auth.tokens.check(bearer(authorization))
    return await (auth.sites.check(value, site) if site else auth.cookies.check(value, hand=hand))


def bearer(header: str | None) -> str:
    """The token of an `Authorization` header (RFC 6750, section 2.1). Raises Denied."""
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Denied(TOKEN_MISSING)
    return token.strip()


def presented(authorization: str | None, body: str) -> str:
    """The one token of a request, in its header or as its body. Raises AuthError for two (K-15)."""
    if authorization is None and body:
        return body
    token = bearer(authorization)
    if body not in ("", token):
        raise AuthError(AMBIGUOUS_TOKEN)
    return token


async def admitted(guard: Guard, request: Request) -> Any:
    """Ask the guard. Raises AuthError where it answers nothing, or no."""
    principal = await guard(request)
    if not principal:
        raise AuthError(FORBIDDEN)
    return principal
