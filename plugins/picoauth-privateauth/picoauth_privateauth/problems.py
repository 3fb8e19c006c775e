"""How clients and users are refused; at OAuth's endpoints in OAuth's words."""

from __future__ import annotations

from collections.abc import Mapping

from picoauth import AuthError, Problem, problems

CLIENT_REFUSED = Problem(400, "client_refused", "This application cannot log you in here.")
REDIRECT_REFUSED = Problem(
    400, "redirect_refused", "This application wants to send you where it may not."
)
INVALID_REQUEST = Problem(400, "invalid_request", "This request cannot be understood.")
INVALID_GRANT = Problem(
    400, "invalid_grant", "This code or token is not good, or not for this client."
)
INVALID_SCOPE = Problem(400, "invalid_scope", "This scope was not granted.")
UNSUPPORTED_GRANT_TYPE = Problem(
    400, "unsupported_grant_type", "This kind of grant is not known here."
)
CLIENT_TOKEN_INVALID = Problem(401, "client_token_invalid", "This is no good token of a client.")
INSUFFICIENT_SCOPE = Problem(403, "insufficient_scope", "This token does not reach so far.")
PERMISSION_MISSING = Problem(
    403, "permission_missing", "You do not hold the permission that this application requires."
)
NO_PROFILE = Problem(409, "no_profile", "Your account has no profile URL: take a user name first.")
REQUEST_DECIDED = Problem(409, "request_decided", "This request was decided already.")
PROFILE_REFUSED = Problem(400, "profile_refused", "This URL does not prove that it is yours.")
PROFILE_TAKEN = Problem(409, "profile_taken", "This URL is the profile of somebody else.")
WORDS: Mapping[Problem, str] = {
    CLIENT_REFUSED: "invalid_client",
    REDIRECT_REFUSED: "invalid_request",
    CLIENT_TOKEN_INVALID: "invalid_token",
    INSUFFICIENT_SCOPE: "insufficient_scope",
    INVALID_GRANT: "invalid_grant",
    INVALID_SCOPE: "invalid_scope",
    UNSUPPORTED_GRANT_TYPE: "unsupported_grant_type",
    problems.UNAVAILABLE: "temporarily_unavailable",
}
"""OAuth's own, where they are not `invalid_request` (RFC 6749, 5.2; RFC 6750, 3.1)."""
OPEN = {"Access-Control-Allow-Origin": "*"}
"""Applications that live in a browser alone may ask from anywhere: no cookie counts there."""


def refused(
    problem: Problem, detail: str | None = None, headers: Mapping[str, str] | None = None
) -> AuthError:
    """A refusal with OAuth's `error`."""
    word = WORDS.get(problem, "invalid_request")
    return AuthError(problem, detail, headers=headers, error=word)
