"""What anybody may know: the public keys, and which sessions ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from picoauth import replies
from picoauth.problems import NOT_FOUND
from picoauth.routes import Handler, Reply, Request, Route

if TYPE_CHECKING:
    from picoauth.auth import Auth

JWKS = 300
"""Seconds for which the key set may be kept, where half of `key_overlap` is not less."""
DOCUMENT = {"Content-Type": "application/jwt", "Cache-Control": "public, max-age=1"}
STREAM = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
"""The latter tells nginx to pass events on as they come."""


def routes(auth: Auth) -> Sequence[Route]:
    def get(path: str, handler: Handler, **more: Any) -> Route:
        return Route(method="GET", path=path, handler=handler, policy="public", **more)

    async def jwks(_: Request) -> Reply:
        """The keys by which access tokens are verified (RFC 7517)."""
        kept = min(JWKS, auth.keys.overlap // 2)  # who keeps it knows each key before it signs
        headers = {"Cache-Control": f"public, max-age={kept}"}
        return Reply(auth.keys.published(), headers=headers)

    async def document(_: Request) -> Reply:
        """The sessions that ended, as a signed token; 404 under HS256."""
        return Reply(auth.feed.document().encode(), headers=DOCUMENT)

    async def stream(_: Request) -> Reply:
        """The same as server-sent events: at first all, then each as it happens."""
        return Reply(auth.feed.open(), headers=STREAM)

    revocations = "/.well-known/picoauth/revocations"
    ended: dict[str, Any] = {"answer": str, "problems": (NOT_FOUND,)}
    return [
        get("/.well-known/jwks.json", jwks, answer=replies.KeySet),
        get(revocations, document, media="application/jwt", **ended),
        get(f"{revocations}/stream", stream, media="text/event-stream", **ended),
    ]
