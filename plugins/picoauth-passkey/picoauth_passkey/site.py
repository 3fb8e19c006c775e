"""What pages and browsers ask of the site: signals, and related origins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from picoauth import Reply, Request, Route, described, problems, replies

if TYPE_CHECKING:
    from picoauth_passkey.plugin import PasskeyPlugin

CACHED = {"Cache-Control": "public, max-age=300"}
ACCEPTED = {
    "rpId": "auth.example.com",
    "userId": "bIU7Gx0wRPSmyX6pNnlVUtKYmbMm4HqrsYRHPx8qJ1c",
    "allAcceptedCredentialIds": ["Vb0nLzGnFmVbVfz5mQm7mw"],
}
DETAILS = {
    "rpId": "auth.example.com",
    "userId": "bIU7Gx0wRPSmyX6pNnlVUtKYmbMm4HqrsYRHPx8qJ1c",
    "name": "ann",
    "displayName": "Ann",
}


@replies.shape
class Signals:
    """What devices should know of a user (WebAuthn L3, section 5.1.10)."""

    allAcceptedCredentials: Mapping[str, Any] = described(  # noqa: N815 - the standard's names
        "For `signalAllAcceptedCredentials`.", example=ACCEPTED
    )
    currentUserDetails: Mapping[str, Any] = described(  # noqa: N815
        "For `signalCurrentUserDetails`.", example=DETAILS
    )


@replies.shape
class Related:
    """Origins of one site (WebAuthn L3, section 5.11)."""

    origins: tuple[str, ...] = described(
        "Pages that may use its passkeys.", example=["https://example.net"]
    )


class Site:
    """The routes that change nothing."""

    def __init__(self, plugin: PasskeyPlugin) -> None:
        self.plugin = plugin
        self.auth = plugin.auth

    def routes(self) -> Sequence[Route]:
        signals = Route(
            method="GET",
            path="/auth/passkey/signals",
            handler=self.signals,
            policy="session",
            answer=Signals,
            problems=(problems.NOT_FOUND,),
        )
        related = Route(
            method="GET",
            path="/.well-known/webauthn",
            handler=self.related,
            policy="public",
            answer=Related,
        )
        return [signals, *([related] if self.plugin.settings.related_origins else [])]

    async def signals(self, request: Request) -> Reply:
        """What the user's devices should know: which passkeys are good, and the names."""
        user = await self.auth.users.require(request.access.user_id)
        return Reply(await self.plugin.signals(user))

    async def related(self, _: Request) -> Reply:
        """Other origins whose pages may use the passkeys of this one."""
        return Reply({"origins": list(self.plugin.settings.related_origins)}, headers=CACHED)
