"""What the answer to the request at hand carries, whatever its handler says: cookies."""

from __future__ import annotations

from contextvars import ContextVar

COOKIES: ContextVar[list[str]] = ContextVar("COOKIES")
"""The values of `Set-Cookie` headers. Each request has a list of its own."""


def set_cookie(value: str) -> None:
    """Let the answer to this request set a cookie; where there is no request, nothing happens.

    The last one of a name stands: an answer has but one of each (RFC 6265bis, section 4.1.1).
    """
    cookies, name = COOKIES.get([]), value.partition("=")[0]
    cookies[:] = [cookie for cookie in cookies if cookie.partition("=")[0] != name]
    cookies.append(value)
