"""The routes that applications ask on every request, answered as plain ASGI before Quart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from picoauth import replies
from picoauth.errors import AuthError
from picoauth.jose import LONGEST
from picoauth.policies import bearer, presented
from picoauth.possible import TOKEN
from picoauth.problems import UNSUPPORTED_MEDIA_TYPE
from picoauth.routes import ANYTHING, EdgeReply, EdgeRequest, EdgeRoute

if TYPE_CHECKING:
    from picoauth.auth import Auth


def routes(auth: Auth) -> Sequence[EdgeRoute]:
    """`POST /jwt/validate` and `GET /auth/session`: the claims of a token, or of a cookie."""

    async def validate(request: EdgeRequest) -> EdgeReply:
        """The claims of an access token, which comes as bearer or as the body."""
        sent = await text(request) if has_body(request) else ""
        return EdgeReply(auth.tokens.check(presented(header(request), sent)).body)

    async def session(request: EdgeRequest) -> EdgeReply:
        """Who is logged in, by a bearer or a cookie."""
        if has_body(request):
            raise AuthError(UNSUPPORTED_MEDIA_TYPE)
        authorization = header(request)
        cookie = None if authorization else auth.cookies.sent(header(request, b"cookie"))
        if cookie:
            return EdgeReply((await auth.cookies.check(cookie)).body)
        return EdgeReply(auth.tokens.check(bearer(authorization)).body)

    claims: dict[str, Any] = {"answer": replies.Claims}
    token: dict[str, Any] = {"body": str, "accepts": (ANYTHING,), "example": replies.TOKEN}
    alone = (*TOKEN, UNSUPPORTED_MEDIA_TYPE)
    return [
        EdgeRoute(
            method="POST", path="/jwt/validate", handler=validate, **token, **claims, problems=TOKEN
        ),
        EdgeRoute(
            method="GET",
            path="/auth/session",
            handler=session,
            answer=replies.Identity,
            problems=alone,
        ),
    ]


def header(request: EdgeRequest, name: bytes = b"authorization") -> str | None:
    value = request.headers.get(name)
    return None if value is None else value.decode("latin-1")


def has_body(request: EdgeRequest) -> bool:
    length = request.headers.get(b"content-length", b"0")
    return length != b"0" or b"transfer-encoding" in request.headers


async def text(request: EdgeRequest) -> str:
    """The body as one text, whatever its type is called."""
    if b"content-encoding" in request.headers:
        raise AuthError(UNSUPPORTED_MEDIA_TYPE)
    return (await request.read(2 * LONGEST)).decode("latin-1").strip()
