"""How logins are refused, beside the kernel's ways."""

from picoauth import Problem

PROFILE_UNUSABLE = Problem(
    400, "profile_unusable", "Nobody can log in with this web address as it is."
)
UNKNOWN_ENDPOINT = Problem(400, "unknown_endpoint", "There is no such trusted endpoint here.")
PERMISSION_REQUIRED = Problem(
    403, "permission_required", "You do not hold the permission that this application requires."
)
TOO_MANY_LINKS = Problem(409, "too_many_links", "So many links are enough for one account.")
