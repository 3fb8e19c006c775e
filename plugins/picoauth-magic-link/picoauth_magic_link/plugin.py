"""Settings, tables and the factor, as a picoauth plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from picoauth import Auth, Factor, Job, Plugin, Seconds, User, check_page, described, hookimpl
from picoauth_magic_link.factor import MagicLinkFactor
from picoauth_magic_link.links import MIGRATIONS, Links

MINUTE = 60


@dataclass(frozen=True)
class MagicLinkSettings:
    """The table `[magic-link]`."""

    page: str = described(
        "Path of your page that links in mails open, with the token behind #.",
        default="/login/",
        check=check_page,
    )
    life: Seconds = described(
        "How long a link and its code are good.",
        default=Seconds(10 * MINUTE),
        least=MINUTE,
        most=10 * MINUTE,
    )


class MagicLinkPlugin(Plugin[MagicLinkSettings]):
    """The factor `magic-link`, and its table. It has no routes: a login is all there is."""

    needs: ClassVar[Sequence[str]] = ("mailer",)

    def __init__(self, auth: Auth, name: str, settings: MagicLinkSettings) -> None:
        super().__init__(auth, name, settings)
        self.links = Links(auth)

    @hookimpl
    def migrations(self) -> Sequence[str]:
        return MIGRATIONS

    @hookimpl
    def factors(self) -> Sequence[Factor]:
        return [MagicLinkFactor(self.auth, self, self.links)]

    @hookimpl
    def jobs(self) -> Sequence[Job]:
        return [Job("magic-link-clean", 60 * MINUTE, self.links.clean, purges=True)]

    @hookimpl
    async def export(self, user: User) -> Mapping[str, Any]:
        """What waits for the user, without what proves anything."""
        return {"links": await self.links.known(user.id)}
