"""`POST /.well-known/picoauth/seen`: how a request arrives here, for `picoauth doctor proxy`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from picoauth import replies
from picoauth.database import Statement
from picoauth.errors import AuthError
from picoauth.problems import NOT_FOUND
from picoauth.routes import Reply, Request, Route
from picoauth.shapes import described

if TYPE_CHECKING:
    from picoauth.auth import Auth

PATH = "/.well-known/picoauth/seen"
PURPOSE = "doctor proxy"
LIFE = 60
"""Seconds that a ticket lives; the doctor asks at once."""
FORWARDING = (
    "host",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
)
"""Headers by which proxies tell whom they speak for; the server believes but two of them."""


@dataclass(frozen=True)
class Look:
    """The body: only who can write into the database has a ticket."""

    ticket: str = described("A ticket of `picoauth doctor proxy`.", least=1, most=64)


def ticket(auth: Auth) -> tuple[str, Statement]:
    return auth.tickets.issue(PURPOSE, None, expires_at=auth.now() + LIFE)


def route(auth: Auth) -> Route:
    async def seen(request: Request) -> Reply:
        """The address, host and scheme of a request as the server sees them. Raises AuthError."""
        given = PURPOSE, request.body.ticket
        # A look first: strangers cost no write. Without a ticket it is as if nothing were here.
        if await auth.tickets.look(*given) is None or await auth.tickets.take(*given) is None:
            raise AuthError(NOT_FOUND)
        return Reply(
            {
                "address": request.caller.address,
                "host": request.headers["host"],
                "scheme": request.headers.get("x-forwarded-proto", "http"),
                "peer": request.peer,
                "headers": {
                    name: request.headers[name] for name in FORWARDING if name in request.headers
                },
            }
        )

    return Route(
        method="POST",
        path=PATH,
        handler=seen,
        policy="flow",
        body=Look,
        answer=replies.Arrival,
        problems=(NOT_FOUND,),
        summary="How a request arrives here, for `picoauth doctor proxy`",
        example={"ticket": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
    )
