"""Every refusal that the kernel answers, by its stable code (RFC 9457)."""

from picoauth.errors import Problem

AMBIGUOUS_TOKEN = Problem(400, "ambiguous_token", "This request has two different tokens.")
BAD_REQUEST = Problem(400, "bad_request", "This request cannot be read.")
FACTOR_OUT_OF_PLACE = Problem(
    400, "factor_out_of_place", "This factor cannot be used at this step."
)
INVALID_BODY = Problem(400, "invalid_body", "The body is not what this route takes.")
INVALID_CURSOR = Problem(400, "invalid_cursor", "This is no cursor of this list.")
INVALID_EMAIL = Problem(400, "invalid_email", "This is not an e-mail address.")
INVALID_HOST = Problem(400, "invalid_host", "This host name is not served here.", logged=True)
INVALID_JSON = Problem(400, "invalid_json", "The body is not valid JSON.")
INVALID_QUERY = Problem(400, "invalid_query", "The query is not what this route takes.")
INVALID_URL = Problem(400, "invalid_url", "This is not a web address.")
INVALID_USERNAME = Problem(
    400,
    "invalid_username",
    "This cannot be a user name: it has at most 64 characters, and no blanks or @ / \\ ? # %.",
)
UNKNOWN_FACTOR = Problem(400, "unknown_factor", "There is no such factor.")
FLOW_ENDED = Problem(401, "flow_ended", "This login has ended or was used: start over.")
INVALID_CLIENT = Problem(401, "invalid_client", "This is no key of a resource server.")
INVALID_TOKEN = Problem(401, "invalid_token", "This is not a valid token.")
MORE_NEEDED = Problem(401, "more_needed", "Another factor is needed.")
PROOF_REFUSED = Problem(401, "proof_refused", "This proof was refused.")
SESSION_ENDED = Problem(401, "session_ended", "This session has ended: log in again.")
START_OVER = Problem(401, "start_over", "The account changed meanwhile: start over.")
TOKEN_EXPIRED = Problem(401, "token_expired", "This token has expired: refresh it.")
TOKEN_MISSING = Problem(401, "token_missing", "This needs a token.")
ACCOUNT_CLOSED = Problem(
    403, "account_closed", "This account was closed and will be deleted: it can be restored."
)
CROSS_SITE = Problem(403, "cross_site", "A page of another site may not do this with a cookie.")
FORBIDDEN = Problem(403, "forbidden", "This is not for you.")
READ_ONLY = Problem(403, "read_only", "This key may only read.")
REFUSED = Problem(403, "refused", "This was refused.")
SECOND_FACTOR_NEEDED = Problem(
    403, "second_factor_needed", "Administration needs a second factor: enrol one first."
)
STEPUP_NEEDED = Problem(403, "stepup_needed", "This needs a fresh proof: POST /auth/stepup first.")
NOT_FOUND = Problem(404, "not_found", "There is nothing here.")
METHOD_NOT_ALLOWED = Problem(405, "method_not_allowed", "This route has no such method.")
BODY_TOO_SLOW = Problem(408, "body_too_slow", "The body took too long to arrive.")
CONFLICT = Problem(409, "conflict", "Something else came first: look again, and try again.")
IDENTIFIER_TAKEN = Problem(409, "identifier_taken", "This identifier belongs to someone.")
LAST_FACTOR = Problem(
    409, "last_factor", "Without this factor nobody could log in: add another one first."
)
NOT_CLOSED = Problem(409, "not_closed", "This account is not closed.")
USERNAME_TAKEN = Problem(409, "username_taken", "This user name is taken.")
LINK_EXPIRED = Problem(410, "link_expired", "This link came too late: ask for another one.")
BODY_TOO_LARGE = Problem(413, "body_too_large", "The body is too large.")
URL_TOO_LONG = Problem(414, "url_too_long", "The address is too long.")
UNSUPPORTED_MEDIA_TYPE = Problem(
    415, "unsupported_media_type", "This route does not take this content type."
)
TOO_MANY_ATTEMPTS = Problem(429, "too_many_attempts", "Too many attempts: try again later.")
TOO_MANY_RENAMES = Problem(
    429, "too_many_renames", "The user name was changed too often: try again later."
)
INTERNAL_ERROR = Problem(500, "internal_error", "Something went wrong here.")
UNAVAILABLE = Problem(503, "unavailable", "This cannot be done right now: try again.")
HTTP_VERSION = Problem(505, "http_version", "Only HTTP/1.1 is spoken here.")
