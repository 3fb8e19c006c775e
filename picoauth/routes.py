"""Routes: what each declares, who a policy lets in, and what a handler gets and answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from picoauth.errors import AuthError, Denied, Problem
from picoauth.events import Caller
from picoauth.problems import FORBIDDEN, TOKEN_MISSING
from picoauth.tokens import Access

if TYPE_CHECKING:
    from picoauth.auth import Auth


JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
ANYTHING = "*/*"
"""`Route.accepts` of a body that is one text, whatever the client calls it."""

Listener = Literal["public", "admin"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a handler gets. `body` is of the type that the route declares, or None."""

    caller: Caller
    headers: Mapping[str, str]
    listener: Listener = "public"
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    principal: Any = None
    """Whom the policy let in: an `Access` for `session` and `fresh`."""

    @property
    def access(self) -> Access:
        """The access token that the policy checked."""
        if not isinstance(self.principal, Access):
            raise Denied(TOKEN_MISSING)
        return self.principal


@dataclass(frozen=True)
class Reply:
    """What a handler answers; without a body, by default, nothing: 204."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Reply]]
Guard = Callable[[Request], Awaitable[Any]]
"""Answers the principal, or None, which denies."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """One path and method. Without a policy that somebody guards it does not register."""

    method: str
    path: str
    handler: Handler
    policy: str
    body: type | None = None
    """A dataclass of `described` members; `dict` for any object; `str` for plain text."""
    accepts: Sequence[str] = (JSON,)
    listener: Listener = "public"
    status: int = 200
    problems: Sequence[Problem] = ()
    summary: str = ""
    example: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EdgeRequest:
    """What an edge route gets, before Quart: raw headers, and the body when it asks for it."""

    caller: Caller
    headers: Mapping[bytes, bytes]
    read: Callable[[int], Awaitable[bytes]]
    """Reads the body, so many bytes at most; raises AuthError (413) for a longer one."""
    query: bytes = b""


@dataclass(frozen=True)
class EdgeReply:
    """A finished answer."""

    body: bytes
    status: int = 200
    headers: Sequence[tuple[bytes, bytes]] = ((b"content-type", b"application/json"),)


@dataclass(frozen=True, kw_only=True)
class EdgeRoute:
    """A path that an application asks on every request, answered as plain ASGI."""

    method: str
    path: str
    handler: Callable[[EdgeRequest], Awaitable[EdgeReply]]


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
        }

    async def anybody(self, request: Request) -> Any:
        return request.caller

    async def session(self, request: Request) -> Access:
        return self.auth.tokens.check(bearer(request.headers.get("authorization")))

    async def fresh(self, request: Request) -> Access:
        """A proof a few minutes old at most: of a second factor, if one is enrolled (V7.5.1)."""
        access = await self.session(request)
        await self.auth.require_fresh(access)
        return access


def bearer(header: str | None) -> str:
    """The token of an `Authorization` header (RFC 6750, section 2.1). Raises Denied."""
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Denied(TOKEN_MISSING, headers={"WWW-Authenticate": "Bearer"})
    return token.strip()


async def admitted(guard: Guard, request: Request) -> Any:
    """Ask the guard. Raises Denied where it answers nothing."""
    principal = await guard(request)
    if principal is None:
        raise AuthError(FORBIDDEN)
    return principal
