"""Who holds what: permissions and roles of users, and what changes them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from picoauth import Auth, AuthError, Caller, Conflict, Event, problems
from picoauth_permissions import names, rows
from picoauth_permissions.events import (
    PermissionGranted,
    PermissionRevoked,
    RoleAssigned,
    RoleUnassigned,
)
from picoauth_permissions.names import UNKNOWN_ROLE
from picoauth_permissions.rows import Step

E = TypeVar("E", bound=Event)

TRIES = 3
"""How often a change is tried that another change got in the way of."""


@dataclass(frozen=True)
class Holding:
    """What one user has: permissions of the own, roles, and all that they come to."""

    permissions: tuple[str, ...]
    roles: tuple[str, ...]
    held: tuple[str, ...]


class Holdings:
    """Reads and changes what users hold."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth

    async def held(self, user_id: str) -> frozenset[str]:
        return frozenset(
            one for (one,) in await self.auth.database.read(rows.HELD, (user_id, user_id))
        )

    async def holders(self, permission: str) -> Sequence[str]:
        args = (permission, permission)
        return [one for (one,) in await self.auth.database.read(rows.HOLDERS, args, slow=True)]

    async def of(self, user_id: str) -> Holding:
        own = await self.own(user_id)
        return Holding(own, await self.roles(user_id), tuple(sorted(await self.held(user_id))))

    async def own(self, user_id: str) -> tuple[str, ...]:
        sql = "select permission from permissions where user_id = ? order by permission"
        return tuple(one for (one,) in await self.auth.database.read(sql, (user_id,)))

    async def roles(self, user_id: str) -> tuple[str, ...]:
        sql = "select role from permissions_members where user_id = ? order by role"
        return tuple(one for (one,) in await self.auth.database.read(sql, (user_id,)))

    async def grant(self, user_id: str, permission: str, caller: Caller) -> None:
        """Raises AuthError where there is no such user, or a token could not carry it."""
        event = self.event(
            PermissionGranted, user_id, caller, permission=names.permission(permission)
        )
        steps = [*rows.granting(user_id, permission, event.at), rows.fitting(user_id)]
        try:
            await self.commit([event], steps)
        except Conflict:
            await self.auth.users.require(user_id)  # else it was granted before

    async def revoke(self, user_id: str, permission: str, caller: Caller) -> None:
        """Raises AuthError where it is not the user's own, or makes the last administrator."""
        event = self.event(
            PermissionRevoked, user_id, caller, permission=names.permission(permission)
        )
        try:
            await self.commit([event], rows.revoking(user_id, permission))
        except Conflict as conflict:
            raise AuthError(problems.NOT_FOUND) from conflict

    async def assign(self, user_id: str, role: str, caller: Caller) -> None:
        """Raises AuthError where there is no such user or role, or a token could not carry it."""
        event = self.event(RoleAssigned, user_id, caller, role=names.role(role))
        steps = [*rows.assigning(user_id, role, event.at), rows.fitting(user_id)]
        try:
            await self.commit([event], steps)
        except Conflict as conflict:
            await self.auth.users.require(user_id)
            if role not in await self.roles(user_id):  # else it was assigned before
                raise AuthError(UNKNOWN_ROLE, f'there is no "{role}"') from conflict

    async def unassign(self, user_id: str, role: str, caller: Caller) -> None:
        """Raises AuthError where the user has no such role, or is the last administrator by it."""
        event = self.event(RoleUnassigned, user_id, caller, role=names.role(role))
        try:
            await self.commit([event], rows.unassigning(user_id, role))
        except Conflict as conflict:
            raise AuthError(problems.NOT_FOUND) from conflict

    async def replace(
        self, user_id: str, permissions: Sequence[str], roles: Sequence[str], caller: Caller
    ) -> None:
        """Let a user have exactly these permissions and roles; what is new comes first."""
        wanted, belonging = names.several(permissions), frozenset(map(names.role, roles))
        for _ in range(TRIES):
            await self.auth.users.require(user_id)
            before = await self.of(user_id)
            try:
                await self.exchange(user_id, before, wanted, belonging, caller)
            except Conflict:
                await self.require_roles(belonging)
            else:
                return
        raise AuthError(problems.CONFLICT)

    async def exchange(
        self,
        user_id: str,
        before: Holding,
        permissions: Collection[str],
        roles: Collection[str],
        caller: Caller,
    ) -> None:
        """One try of `replace`. Raises Conflict where `before` is not what is there any more."""
        told, now = partial(self.event, user_id=user_id, caller=caller), self.auth.now()
        granted, revoked = differences(before.permissions, permissions)
        assigned, unassigned = differences(before.roles, roles)
        events = [
            *(told(PermissionGranted, permission=one) for one in granted),
            *(told(RoleAssigned, role=one) for one in assigned),
            *(told(PermissionRevoked, permission=one) for one in revoked),
            *(told(RoleUnassigned, role=one) for one in unassigned),
        ]
        steps = [
            rows.same_permissions(user_id, before.permissions),
            rows.same_roles(user_id, before.roles),
            *(step for one in granted for step in rows.granting(user_id, one, now)),
            *(step for one in assigned for step in rows.assigning(user_id, one, now)),
            *(step for one in revoked for step in rows.revoking(user_id, one)),
            *(step for one in unassigned for step in rows.unassigning(user_id, one)),
            rows.fitting(user_id),
        ]
        if events:
            await self.commit(events, steps)

    async def require_roles(self, roles: Collection[str]) -> None:
        for role in roles:
            sql = "select 1 from permissions_roles where role = ?"
            if not await self.auth.database.read(sql, (role,)):
                raise AuthError(UNKNOWN_ROLE, f'there is no "{role}"')

    async def commit(self, events: Sequence[Event], steps: Sequence[Step]) -> None:
        """Raises AuthError for what is refused, and Conflict where something else came first."""
        try:
            await self.auth.events.commit(events[0], *rows.statements(steps), also=events[1:])
        except Conflict as conflict:
            refusal = rows.refusal(steps, conflict)
            if refusal is None:
                raise
            raise refusal from conflict

    def event(self, kind: type[E], user_id: str, caller: Caller, **members: Any) -> E:
        return kind(at=self.auth.now(), user_id=user_id, caller=caller, **members)


def differences(before: Collection[str], after: Collection[str]) -> tuple[list[str], list[str]]:
    """What is new, and what is gone."""
    return sorted({*after} - {*before}), sorted({*before} - {*after})
