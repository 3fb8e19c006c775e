"""Errors as the problem details that a client gets (RFC 9457)."""

from __future__ import annotations

import json
import logging
from typing import Any

from picoauth import troubles
from picoauth.errors import AuthError, Conflict, Unavailable
from picoauth.problems import CONFLICT, INTERNAL_ERROR, UNAVAILABLE
from picoauth.seldom import Seldom

log = logging.getLogger("picoauth.http")
log.addFilter(Seldom())

EXPECTED = {
    401: {"www-authenticate": "Bearer"},
    429: {"retry-after": "1"},
    503: {"retry-after": "1"},
}
"""Headers that come with a status, unless the refusal has its own (RFC 9110, RFC 6585)."""


OAUTH = {401: "invalid_client", 403: "access_denied", 500: "server_error"}
"""OAuth's words for a status; other client errors are `invalid_request` (RFC 6749, 4.1.2.1, 5.2)."""


def problem(
    error: BaseException, request_id: str | None, *, oauth: bool = False
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body; of an unknown error they tell nothing, and the log everything."""
    refusal = worded(error)
    if isinstance(error, Unavailable):
        reason = troubles.worded(error)
        log.warning("request %s: %s", request_id, reason, extra={"seldom": reason})
    if refusal is None:
        log.error("request %s failed", request_id, exc_info=error)
        refusal = AuthError(INTERNAL_ERROR)
    members, content = (as_oauth if oauth else as_problem)(refusal, request_id)
    if refusal.problem.logged:
        said = " ".join(filter(None, (refusal.problem.title, refusal.detail)))
        log.warning("request %s: %s", request_id, said, extra={"seldom": refusal.problem.code})
    own = {name.lower(): value for name, value in refusal.headers.items()}
    status = refusal.problem.status
    headers = {"content-type": content, **EXPECTED.get(status, {}), **own}
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    try:
        return status, encoded, json.dumps(members).encode()
    except (TypeError, ValueError) as unfit:  # what a plugin added is no JSON
        return problem(unfit, request_id, oauth=oauth)


def unserved(host: bytes | None) -> str | None:
    """What has to be known by who meant a host to be served."""
    if host is None:
        return None
    return f"The setting `allowed_hosts` does not have {host.decode('latin-1')[:253]!r}."


def as_problem(refusal: AuthError, request_id: str | None) -> tuple[dict[str, Any], str]:
    p = refusal.problem
    members = {
        "type": "about:blank",
        "title": p.title,
        "status": p.status,
        "code": p.code,
        "error": p.title,  # what clients of the first picoauth show
        **({"detail": refusal.detail} if refusal.detail else {}),
        **({"request_id": request_id} if request_id else {}),
        **refusal.extra,
    }
    return members, "application/problem+json"


def as_oauth(refusal: AuthError, request_id: str | None) -> tuple[dict[str, Any], str]:
    """With our `code` beside OAuth's `error`; a refusal may bring its own `error` along."""
    p = refusal.problem
    busy, words = p.status in (429, 503), " ".join(filter(None, (p.title, refusal.detail)))
    members = {
        "error": "temporarily_unavailable" if busy else OAUTH.get(p.status, "invalid_request"),
        "error_description": words.replace('"', "'"),  # which has no quotes, RFC 6749, 5.2
        "code": p.code,
        **({"request_id": request_id} if request_id else {}),
        **refusal.extra,
    }
    return members, "application/json"


def worded(error: BaseException) -> AuthError | None:
    match error:
        case AuthError():
            return error
        case Conflict():
            return AuthError(CONFLICT)
        case Unavailable():
            return AuthError(UNAVAILABLE, headers={"Retry-After": str(error.retry_after)})
    return None
