"""Routes: what each declares, who a policy lets in, and what a handler gets and answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from picoauth.errors import Denied, Problem
from picoauth.events import Caller
from picoauth.problems import TOKEN_MISSING
from picoauth.tokens import Access

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
ANYTHING = "*/*"
"""`Route.accepts` of a body that is one text, whatever the client calls it."""

Listener = Literal["public", "admin"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a handler gets. `body` is of the type that the route declares, or None.

    Names of `headers` are in lower case; of one that comes twice it is the last.
    """

    caller: Caller
    headers: Mapping[str, str]
    method: str = "GET"
    listener: Listener = "public"
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    principal: Any = None
    """Whom the policy let in: an `Access` for `session` and `fresh`."""
    peer: str | None = None
    """Who connected, which may be a proxy: an address, or None for a unix socket."""

    @property
    def access(self) -> Access:
        """The access token that the policy checked."""
        if not isinstance(self.principal, Access):
            raise Denied(TOKEN_MISSING)
        return self.principal


@dataclass(frozen=True)
class Reply:
    """What a handler answers."""

    body: Any = None
    """JSON; or bytes, of the `Content-Type` that `headers` say; or None for nothing.

    Bytes may also come one after the other, from an async iterator: a stream.
    """
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
    """A dataclass of `described` members; `dict` for any object; `str` for a text; or nothing (`{}`)."""
    accepts: Sequence[str] = (JSON,)
    listener: Listener = "public"
    status: int = 200
    problems: Sequence[Problem] = ()
    errors: Literal["problem", "oauth"] = "problem"
    """How refusals are written: as problem details, or as OAuth's (RFC 6749, section 5.2)."""
    summary: str = ""
    example: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EdgeRequest:
    """What an edge route gets, before Quart: raw headers, and the body when it asks for it."""

    caller: Caller
    headers: Mapping[bytes, bytes]
    read: Callable[[int], Awaitable[bytes]]
    """Reads the body, so many bytes at most. Raises AuthError for a longer or too slow one."""
    query: bytes = b""
    peer: str | None = None
    """Who connected, which may be a proxy: an address, or None for a unix socket."""


@dataclass(frozen=True)
class EdgeReply:
    """A finished answer."""

    body: bytes
    status: int = 200
    headers: Sequence[tuple[bytes, bytes]] = ((b"content-type", b"application/json"),)


@dataclass(frozen=True, kw_only=True)
class EdgeRoute:
    """A path that an application asks on every request, answered as plain ASGI.

    The path is compared as a whole: it has no parameters. No policy guards it, and no limiter.
    """

    method: str
    path: str
    handler: Callable[[EdgeRequest], Awaitable[EdgeReply]]
