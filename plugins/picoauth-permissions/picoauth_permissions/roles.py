"""Roles: lists of permissions under a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from picoauth import Auth, AuthError, Caller, Conflict, problems
from picoauth_permissions import names, rows
from picoauth_permissions.events import RoleChanged, RoleRemoved
from picoauth_permissions.holdings import TRIES, Holdings, differences
from picoauth_permissions.names import UNKNOWN_ROLE

ALL = """
    select r.role, c.permission from permissions_roles r
      left join permissions_contents c on c.role = r.role order by r.role, c.permission
"""
ONE = """
    select c.permission from permissions_roles r
      left join permissions_contents c on c.role = r.role where r.role = ? order by c.permission
"""


class Roles:
    """Reads and changes roles; who has one holds from then on what it says."""

    def __init__(self, auth: Auth, holdings: Holdings) -> None:
        self.auth = auth
        self.holdings = holdings

    async def all(self) -> Mapping[str, Sequence[str]]:
        found: dict[str, list[str]] = {}
        for role, permission in await self.auth.database.read(ALL, slow=True):
            found.setdefault(role, []).extend([permission] if permission else [])
        return found

    async def require(self, role: str) -> Sequence[str]:
        """The permissions of a role. Raises AuthError where there is none."""
        found = await self.find(role)
        if found is None:
            raise AuthError(UNKNOWN_ROLE, f'there is no "{role}"')
        return found

    async def find(self, role: str) -> Sequence[str] | None:
        rows = await self.auth.database.read(ONE, (role,))
        return [one for (one,) in rows if one] if rows else None

    async def put(self, role: str, permissions: Sequence[str], caller: Caller) -> Sequence[str]:
        """Make a role, or give it other permissions; answers them.

        Raises AuthError where nobody could administrate then, or a token could not carry what
        somebody would hold.
        """
        wanted = names.several(permissions)
        names.role(role)
        for _ in range(TRIES):
            before = await self.find(role)
            new, gone = differences(before or (), wanted)
            event = RoleChanged(
                at=self.auth.now(),
                user_id=None,
                role=role,
                permissions=tuple(sorted(wanted)),
                caller=caller,
            )
            first = (
                rows.making(role, event.at)
                if before is None
                else rows.same_contents(role, before, event.at)
            )
            with suppress(Conflict):
                await self.holdings.commit([event], [first, *rows.filling(role, gone, new)])
                return event.permissions
        raise AuthError(problems.CONFLICT)

    async def remove(self, role: str, caller: Caller) -> None:
        """Nobody has it afterwards. Raises AuthError where nobody could administrate then."""
        now = self.auth.now()
        event = RoleRemoved(at=now, user_id=None, role=names.role(role), caller=caller)
        try:
            await self.holdings.commit([event], rows.removing(role))
        except Conflict as conflict:
            raise AuthError(UNKNOWN_ROLE, f'there is no "{role}"') from conflict
