"""The routes that applications ask on every request, answered as plain ASGI before Quart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from picoauth.errors import AuthError, Denied
from picoauth.jose import LONGEST
from picoauth.policies import bearer
from picoauth.problems import AMBIGUOUS_TOKEN, TOKEN_MISSING
from picoauth.routes import EdgeReply, EdgeRequest, EdgeRoute

if TYPE_CHECKING:
    from picoauth.auth import Auth


def routes(auth: Auth) -> Sequence[EdgeRoute]:
    """`POST /jwt/validate` and `GET /auth/session`: the claims of a valid access token."""

    async def validate(request: EdgeRequest) -> EdgeReply:
        return EdgeReply(auth.tokens.check(await token(request)).body)

    async def session(request: EdgeRequest) -> EdgeReply:
        return EdgeReply(auth.tokens.check(bearer(header(request))).body)

    return [
        EdgeRoute(method="POST", path="/jwt/validate", handler=validate),
        EdgeRoute(method="GET", path="/auth/session", handler=session),
    ]


def header(request: EdgeRequest) -> str | None:
    value = request.headers.get(b"authorization")
    return None if value is None else value.decode("latin-1")


async def token(request: EdgeRequest) -> str:
    """A token in the header, or as the body; two different ones are refused (K-15)."""
    sent = await body(request) if has_body(request) else ""
    authorization = header(request)
    if authorization is None:
        if not sent:
            raise Denied(TOKEN_MISSING, headers={"WWW-Authenticate": "Bearer"})
        return sent
    found = bearer(authorization)
    if sent not in ("", found):
        raise AuthError(AMBIGUOUS_TOKEN)
    return found


def has_body(request: EdgeRequest) -> bool:
    length = request.headers.get(b"content-length", b"0")
    return length != b"0" or b"transfer-encoding" in request.headers


async def body(request: EdgeRequest) -> str:
    return (await request.read(2 * LONGEST)).decode("latin-1").strip()
