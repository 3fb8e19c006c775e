"""What anybody may know: the public keys, and which sessions ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from picoauth.problems import NOT_FOUND
from picoauth.routes import Reply, Request, Route

if TYPE_CHECKING:
    from picoauth.auth import Auth

JWKS = {"Cache-Control": "public, max-age=300"}
DOCUMENT = {"Content-Type": "application/jwt", "Cache-Control": "public, max-age=1"}
STREAM = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
"""The latter tells nginx to pass events on as they come."""


def routes(auth: Auth) -> Sequence[Route]:
    async def jwks(_: Request) -> Reply:
        """The keys by which access tokens are verified (RFC 7517)."""
        return Reply(auth.keys.published(), headers=JWKS)

    async def document(_: Request) -> Reply:
        """The sessions that ended, as a signed token; 404 under HS256."""
        return Reply(auth.feed.document().encode(), headers=DOCUMENT)

    async def stream(_: Request) -> Reply:
        """The same as server-sent events: at first all, then each as it happens."""
        return Reply(auth.feed.open(), headers=STREAM)

    revocations = "/.well-known/picoauth/revocations"
    return [
        Route(method="GET", path="/.well-known/jwks.json", handler=jwks, policy="public"),
        Route(
            method="GET",
            path=revocations,
            handler=document,
            policy="public",
            problems=(NOT_FOUND,),
        ),
        Route(
            method="GET",
            path=f"{revocations}/stream",
            handler=stream,
            policy="public",
            problems=(NOT_FOUND,),
        ),
    ]
