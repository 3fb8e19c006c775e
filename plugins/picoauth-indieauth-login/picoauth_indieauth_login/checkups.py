"""What `picoauth doctor` says about logins by domains and trusted endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from picoauth import Check
from picoauth_indieauth_login.permissions import strange

if TYPE_CHECKING:
    from picoauth_indieauth_login.plugin import IndieAuthLoginPlugin


class Checkups:
    """Looks at the settings, and at what trusted endpoints told."""

    def __init__(self, plugin: IndieAuthLoginPlugin) -> None:
        self.plugin = plugin

    def checks(self) -> Sequence[Check]:
        return [
            Check("indieauth-login-open", self.open, live=False, level="advice"),
            Check("indieauth-login-permissions", self.permissions, live=False, level="warning"),
        ]

    async def open(self) -> str | None:
        """Whoever has a name there gets in, and an account."""
        names = [
            one.name
            for one in self.plugin.settings.endpoints
            if one.register and one.required_permission is None
        ]
        if not names:
            return None
        return (
            f"[indieauth-login] gives an account to everybody whom {', '.join(names)} knows: set "
            "required_permission there, unless that is meant."
        )

    async def permissions(self) -> str | None:
        """A permission of this application that nobody here knows is a mistake somewhere."""
        found: set[str] = set()
        for one in self.plugin.settings.endpoints:
            if one.application is not None:
                for told in await self.plugin.accounts.all(one.url):
                    found.update(f"{name} ({one.name})" for name in strange(one, told))
        if not found:
            return None
        return (
            f"Trusted endpoints told permissions that [indieauth-login] does not know: "
            f"{', '.join(sorted(found))}; mend them there, or add them to permissions."
        )
