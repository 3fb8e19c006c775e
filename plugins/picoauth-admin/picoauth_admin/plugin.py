"""Administration, as a picoauth plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from picoauth import Auth, Factor, Guard, Plugin, Route, hookimpl
from picoauth_admin.custody import CustodyRoutes
from picoauth_admin.guard import AdminGuard
from picoauth_admin.invitations import InvitationFactor, Invitations
from picoauth_admin.keys import MIGRATIONS, AdminKeys
from picoauth_admin.routes import Routes
from picoauth_admin.shapes import AdminSettings
from picoauth_admin.users import UserRoutes

if TYPE_CHECKING:
    import click


class AdminPlugin(Plugin[AdminSettings]):
    """The policy `admin`, the routes of users, admin keys, and the factor `invitation`."""

    def __init__(self, auth: Auth, name: str, settings: AdminSettings) -> None:
        super().__init__(auth, name, settings)
        self.keys = AdminKeys(auth)
        self.invitations = Invitations(auth, self)

    @hookimpl
    def migrations(self) -> Sequence[str]:
        return MIGRATIONS

    @hookimpl
    def factors(self) -> Sequence[Factor]:
        return [InvitationFactor(self.auth, self.invitations)]

    @hookimpl
    def guards(self) -> Mapping[str, Guard]:
        return {"admin": AdminGuard(self.auth, self.keys, public=self.settings.public)}

    @hookimpl
    def routes(self) -> Sequence[Route]:
        routes = Routes()
        custody = CustodyRoutes(self.auth, self.invitations)
        return [*UserRoutes(self.auth).declared(routes), *custody.declared(routes)]

    @hookimpl
    def commands(self) -> Sequence[click.Command]:
        from picoauth_admin.commands import commands  # noqa: PLC0415 - for the CLI alone

        return commands(self)
