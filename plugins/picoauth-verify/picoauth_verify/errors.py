"""Why a request is not let in, and the problem details (RFC 9457) that say so."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

UNAVAILABLE = (503, "This cannot be done right now: try again.")
REFUSALS = {
    "ambiguous_token": (400, "This request has two different tokens."),
    "invalid_token": (401, "This is not a valid token."),
    "session_ended": (401, "This session has ended: log in again."),
    "token_expired": (401, "This token has expired: refresh it."),
    "token_missing": (401, "This needs a token."),
}
"""Status and title by code: the codes and words of the server itself."""
CHALLENGES = {
    "ambiguous_token": 'Bearer error="invalid_request"',
    "token_missing": "Bearer",  # nothing about an error, where no token came (RFC 6750, 3.1)
}


@dataclass(frozen=True)
class Answer:
    """What a middleware answers in the application's place."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


class Refused(Exception):
    """This token lets nobody in. `code` is stable; `detail` says more, and has no secret in it."""

    def __init__(self, code: str, detail: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail

    @property
    def answer(self) -> Answer:
        status, title = REFUSALS[self.code]
        challenge = CHALLENGES.get(self.code, 'Bearer error="invalid_token"')
        return answer(status, self.code, title, self.detail, ("WWW-Authenticate", challenge))


class Unreachable(Exception):
    """Nothing is known of the server, so nothing of the token; `why` is for the operator alone."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    @property
    def answer(self) -> Answer:
        status, title = UNAVAILABLE
        return answer(status, "unavailable", title, None, ("Retry-After", "1"))


class Stale(Unreachable):
    """The token is good by what is known, but that is older than the bound allows."""


def answer(
    status: int, code: str, title: str, detail: str | None, header: tuple[str, str]
) -> Answer:
    members = {"type": "about:blank", "title": title, "status": status, "code": code}
    more = {"error": title, **({"detail": detail} if detail else {})}
    body = json.dumps({**members, **more}).encode()
    headers = [
        ("Content-Type", "application/problem+json"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        header,
    ]
    return Answer(status, headers, body)
