"""Permissions and roles of users, as a picoauth plugin."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from picoauth import (
    RESERVED_CLAIMS,
    Addition,
    Auth,
    Caller,
    Check,
    Condition,
    Event,
    ImportField,
    Plugin,
    Route,
    Session,
    User,
    UserClosed,
    UserDeleted,
    UserDisabled,
    described,
    hookimpl,
)
from picoauth_permissions import rows
from picoauth_permissions.administration import Administration
from picoauth_permissions.holdings import Holdings
from picoauth_permissions.imported import OwnPermissions
from picoauth_permissions.names import ADMIN, LAST_ADMINISTRATOR
from picoauth_permissions.roles import Roles

if TYPE_CHECKING:
    import click

log = logging.getLogger("picoauth.permissions")
ROOM = 2300
"""Bytes of JSON for the user's names and permissions, so that a token stays below 4 KiB: names
of two hundred emoji fill it alone."""


def check_claim(name: str) -> None:
    """Raises ValueError for a name that tokens use already: no login would work."""
    if name in RESERVED_CLAIMS:
        raise ValueError("must not be a claim that tokens have already")


@dataclass(frozen=True)
class PermissionsSettings:
    """The table `[permissions]`."""

    claim: str | None = described(
        "Name of the claim in which access tokens list what the user holds; none by default.",
        default=None,
        least=1,
        most=64,
        check=check_claim,
    )


class PermissionsPlugin(Plugin[PermissionsSettings]):
    """What users may do elsewhere; picoauth itself decides by `picoauth:admin` alone."""

    def __init__(self, auth: Auth, name: str, settings: PermissionsSettings) -> None:
        super().__init__(auth, name, settings)
        self.holdings = Holdings(auth)
        self.roles = Roles(auth, self.holdings)

    @hookimpl
    def migrations(self) -> Sequence[str]:
        return rows.MIGRATIONS

    @hookimpl
    def routes(self) -> Sequence[Route]:
        """Only where somebody guards the policy of administrators."""
        guarded = any("admin" in guards for _, guards in self.auth.plugins.collect("guards"))
        return Administration(self).routes() if guarded else []

    @hookimpl
    def commands(self) -> Sequence[click.Command]:
        from picoauth_permissions.commands import commands  # noqa: PLC0415 - for the CLI alone

        return commands(self)

    @hookimpl
    def imports(self) -> Mapping[str, ImportField]:
        return {"permissions": OwnPermissions(self.auth)}

    @hookimpl
    def checks(self) -> Sequence[Check]:
        return [Check("permissions-administrator", self.unable, live=False)]

    @hookimpl
    def record(self, event: Event) -> Addition | None:
        """The last administrator stays."""
        if isinstance(event, UserDeleted | UserDisabled | UserClosed):
            last = rows.last_user(str(event.user_id))
            return Addition(conditions=[Condition(last, LAST_ADMINISTRATOR)])
        return None

    @hookimpl
    async def claims(self, user: User, session: Session) -> Mapping[str, Any]:  # noqa: ARG002
        if self.settings.claim is None:
            return {}
        held = sorted(await self.held(user.id))
        username = await self.auth.users.username(user.id)
        if len(json.dumps([held, user.name, username])) > ROOM:
            log.warning("the names of user %s leave no room for permissions in a token", user.id)
            return {}
        return {self.settings.claim: held}

    @hookimpl
    async def export(self, user: User) -> Mapping[str, Any]:
        return asdict(await self.holdings.of(user.id))

    async def held(self, user_id: str) -> frozenset[str]:
        """The user's own permissions, and those of the user's roles."""
        return await self.holdings.held(user_id)

    async def holders(self, permission: str) -> Sequence[str]:
        """Ids of who holds it, also by a role, and also while disabled."""
        return await self.holdings.holders(permission)

    async def grant(self, user_id: str, permission: str, caller: Caller) -> None:
        """Give a user a permission; who has it keeps it. Raises AuthError."""
        await self.holdings.grant(user_id, permission, caller)

    async def revoke(self, user_id: str, permission: str, caller: Caller) -> None:
        """Take a permission of the own from a user. Raises AuthError, also for the last administrator."""
        await self.holdings.revoke(user_id, permission, caller)

    async def unable(self) -> str | None:
        """The doctor's look at who could administrate."""
        [(appointed, able)] = await self.auth.database.read(rows.ABLE, ("", "", "", "", ""))
        if not appointed or able:
            return None
        return (
            f"Nobody who may log in holds {ADMIN}, though somebody did: "
            f"`picoauth permissions grant USER {ADMIN}` appoints one."
        )
