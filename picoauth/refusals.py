"""Errors as the problem details that a client gets (RFC 9457)."""

from __future__ import annotations

import json
import logging
from typing import Any

from picoauth.errors import AuthError, Conflict, Unavailable
from picoauth.problems import CONFLICT, INTERNAL_ERROR, UNAVAILABLE

log = logging.getLogger("picoauth.http")

MEDIA = "application/problem+json"
EXPECTED = {
    401: {"www-authenticate": "Bearer"},
    429: {"retry-after": "1"},
    503: {"retry-after": "1"},
}
"""Headers that come with a status, unless the refusal has its own (RFC 9110, RFC 6585)."""


def problem(
    error: BaseException, request_id: str | None
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body; of an unknown error they tell nothing, and the log everything."""
    refusal = worded(error)
    if refusal is None:
        log.error("request %s failed", request_id, exc_info=error)
        refusal = AuthError(INTERNAL_ERROR)
    p, members = refusal.problem, document(refusal, request_id)
    own = {name.lower(): value for name, value in refusal.headers.items()}
    content = {"content-type": MEDIA}
    headers = {**content, **EXPECTED.get(p.status, {}), **own}
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    try:
        return p.status, encoded, json.dumps(members).encode()
    except (TypeError, ValueError) as unfit:  # what a plugin added is no JSON
        return problem(unfit, request_id)


def document(refusal: AuthError, request_id: str | None) -> dict[str, Any]:
    """The members of a refusal (RFC 9457, section 3.1)."""
    p = refusal.problem
    return {
        "type": "about:blank",
        "title": p.title,
        "status": p.status,
        "code": p.code,
        "error": p.title,  # what clients of the first picoauth show
        **({"detail": refusal.detail} if refusal.detail else {}),
        **({"request_id": request_id} if request_id else {}),
        **refusal.extra,
    }


def worded(error: BaseException) -> AuthError | None:
    match error:
        case AuthError():
            return error
        case Conflict():
            return AuthError(CONFLICT)
        case Unavailable():
            return AuthError(UNAVAILABLE, headers={"Retry-After": str(error.retry_after)})
    return None
