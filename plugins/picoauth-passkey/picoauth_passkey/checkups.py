"""What `picoauth doctor` says about passkeys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from picoauth import Check
from picoauth_passkey.settings import LOCALHOST, named

if TYPE_CHECKING:
    from picoauth_passkey.plugin import PasskeyPlugin


class Checkups:
    """Each looks at one way in which passkeys do not work, though the server does."""

    def __init__(self, plugin: PasskeyPlugin) -> None:
        self.plugin = plugin
        self.url = plugin.auth.config.public_url
        self.party = plugin.party

    def checks(self) -> Sequence[Check]:
        return [
            Check("passkey-site", self.foreign, live=False),
            Check("passkey-address", self.address, live=False, level="advice"),
            Check("passkey-lost", self.lost, live=False),
        ]

    async def foreign(self) -> str | None:
        """Browsers let a page use passkeys of its own host, and of the domains above it."""
        host, site = named(urlsplit(self.url)), self.party.id
        if f".{host}".endswith(f".{site}"):
            return None
        return (
            f"rp_id in [passkey] is {site}, which is no domain above {host}: browsers refuse, unless "
            f"https://{site}/.well-known/webauthn lists {self.party.origins[0]}."
        )

    async def address(self) -> str | None:
        """Loopback by its number is no name that passkeys could belong to."""
        host = urlsplit(self.url).hostname
        if self.party.id != LOCALHOST or host == LOCALHOST:
            return None
        return (
            f"Browsers have no passkeys at {self.url}: open {self.party.origins[0]} in its place."
        )

    async def lost(self) -> str | None:
        count = await self.plugin.passkeys.elsewhere(self.plugin.sites)
        if not count:
            return None
        return (
            f"{count} passkeys were registered under another rp_id than {self.party.id}, and no "
            "browser offers them here: set rp_id in [passkey] back, or ask their users for new ones."
        )
