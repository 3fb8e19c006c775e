"""The member `permissions` of the lines of an import and an export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from picoauth import Auth, AuthError, Imported, ImportField, Statement
from picoauth_permissions import names
from picoauth_permissions.names import ADMIN, LONGEST, MOST_BYTES

CREATE = "insert into permissions (user_id, permission, granted_at) values (?, ?, ?)"
OF_ALL = """
    select user_id, permission from permissions
     where permission <> ? and user_id in ({}) order by user_id, permission
"""


class OwnPermissions(ImportField):
    """Permissions of the own. A file makes nobody an administrator: a command does, which is told."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth

    def check(self, value: Any) -> Sequence[str]:
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise ValueError("must be a list of texts")
        try:
            found = names.several(value)
        except AuthError as error:
            raise ValueError(
                f"must have permissions of 1 to {LONGEST} characters of a-z, 0-9, and . _ : -, "
                f"in {MOST_BYTES} bytes"
            ) from error
        if ADMIN in found:
            raise ValueError(f"has {ADMIN}, which is granted by `picoauth admin add` alone")
        return sorted(found)

    def make(self, user_id: str, value: Sequence[str]) -> Imported:
        now = self.auth.now()
        return Imported((), [Statement(CREATE, (user_id, one, now), rows=1) for one in value])

    async def dump(self, user_ids: Sequence[str]) -> Mapping[str, Sequence[str]]:
        sql = OF_ALL.format(", ".join("?" * len(user_ids)))
        found: dict[str, list[str]] = {}
        for user_id, permission in await self.auth.database.read(sql, (ADMIN, *user_ids)):
            found.setdefault(user_id, []).append(permission)
        return found
