"""Routes: what each declares, who a policy lets in, and what a handler gets and answers."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, Literal

from picoauth.callers import Caller
from picoauth.errors import Denied, Problem
from picoauth.problems import TOKEN_MISSING
from picoauth.tokens import Access

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
ANYTHING = "*/*"
"""`Route.accepts` of a body that is one text, whatever the client calls it."""
PARAMETER = re.compile(r"\{(\w+)\}")
"""In a path."""

Listener = Literal["public", "admin"]


@dataclass(frozen=True)
class Administrator:
    """Whom the policy `admin` let in, as a guard answers it; `Request.caller` then says so too."""

    actor: str
    """`socket`, `key:NAME` or `user:ID`, as in `Caller.actor`."""


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
    raw_query: str = ""
    """The query as it came, for who has to see what is there twice."""
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
"""Answers the principal, or None, which denies.

One with an attribute `listener` says where all routes of its policy are, whoever has them.
"""


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What a route tells of itself: from this `/openapi.json` is made."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    """Parameters that may follow the path, each with what it is for."""
    body: type | None = None
    """A dataclass of `described` members; `dict` for any object; `str` for a text; or nothing (`{}`)."""
    known: type | None = None
    """Of a `dict`: the members that it may have among others, as a dataclass."""
    accepts: Sequence[str] = (JSON,)
    status: int = 200
    also: Sequence[int] = ()
    """Further statuses of the same answer."""
    answer: type | UnionType | None = None
    """A dataclass of `described` members, which others may join, or several; `dict`; `str`; None tells nothing."""
    media: str = JSON
    """Content type of the answer."""
    problems: Sequence[Problem] = ()
    """Those that are special to this route; who declares `token_missing` takes a bearer token."""
    summary: str = ""
    """One sentence; the first of the handler's docstring by default."""
    example: Any = field(default_factory=dict)
    """A body; that of the members' examples by default."""


@dataclass(frozen=True, kw_only=True)
class Route(Declared):
    """One path and method. Without a policy that somebody guards it does not register."""

    handler: Handler
    policy: str
    listener: Listener = "public"
    errors: Literal["problem", "oauth"] = "problem"
    """How refusals are written: as problem details, or as OAuth's (RFC 6749, section 5.2)."""


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
class EdgeRoute(Declared):
    """A path that an application asks on every request, answered as plain ASGI.

    The path is compared as a whole: it has no parameters. No policy guards it, and no limiter.
    """

    handler: Callable[[EdgeRequest], Awaitable[EdgeReply]]


AnyRoute = Route | EdgeRoute
