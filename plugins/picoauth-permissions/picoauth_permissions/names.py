"""What a permission and a role may be called, and how they are refused."""

from __future__ import annotations

import re
from collections.abc import Sequence

from picoauth import AuthError, Problem

ADMIN = "picoauth:admin"
"""The one permission by which picoauth itself decides."""
LONGEST = 128
"""Characters of a permission, or of a role's name."""
NAME = re.compile(rf"[a-z0-9._:-]{{1,{LONGEST}}}")
"""What fits into a path, a scope (RFC 6749, section 3.3) and a line of any log as it is."""
MOST_BYTES = 1536
"""Of all permissions that one user holds, as a JSON list: in a token they are a third more, and
leave the other half of its 4 KiB to the other claims."""

INVALID_PERMISSION = Problem(400, "invalid_permission", "This cannot be a permission.")
INVALID_ROLE = Problem(400, "invalid_role", "This cannot be the name of a role.")
UNKNOWN_ROLE = Problem(404, "unknown_role", "There is no such role.")
LAST_ADMINISTRATOR = Problem(
    409, "last_administrator", "Without this nobody could administrate: appoint another one first."
)
TOO_MANY_PERMISSIONS = Problem(
    409, "too_many_permissions", "A user would hold more permissions than fit into a token."
)


def permission(text: str) -> str:
    """Raises AuthError for what cannot be one; with a suggestion, where only case is wrong."""
    return checked(text, INVALID_PERMISSION)


def role(text: str) -> str:
    """Raises AuthError for what cannot be the name of one."""
    return checked(text, INVALID_ROLE)


def checked(text: str, problem: Problem) -> str:
    """Never folded: who compares by case would be told another name than was asked for."""
    if NAME.fullmatch(text):
        return text
    if NAME.fullmatch(text.lower()):
        raise AuthError(problem, f'write it in lower case, "{text.lower()}"')
    raise AuthError(problem, f"it has 1 to {LONGEST} characters of a-z, 0-9, and . _ : -")


def several(texts: Sequence[str]) -> frozenset[str]:
    """A set of permissions. Raises AuthError for one that is none, or more than one may hold."""
    found = frozenset(map(permission, texts))
    if sum(map(size, found)) > MOST_BYTES:
        raise AuthError(TOO_MANY_PERMISSIONS, most_bytes=MOST_BYTES)
    return found


def size(text: str) -> int:
    """Bytes in a JSON list: two quotes and a comma."""
    return len(text) + 3
