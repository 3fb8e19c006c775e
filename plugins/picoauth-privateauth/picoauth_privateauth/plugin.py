"""IndieAuth and PrivateAuth for the users of the server, as a picoauth plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from picoauth import (
    Addition,
    Auth,
    BackupRestored,
    Caller,
    Check,
    CredentialChanged,
    Event,
    IdentifierRestored,
    Job,
    Plugin,
    Route,
    SessionsEnded,
    Statement,
    User,
    UserClosed,
    UserDisabled,
    hookimpl,
)
from picoauth_privateauth import builtin
from picoauth_privateauth.asked import Reader
from picoauth_privateauth.authorize import Authorization
from picoauth_privateauth.builtin import BuiltIn
from picoauth_privateauth.checkups import Checkups
from picoauth_privateauth.clients import Clients
from picoauth_privateauth.codes import Codes
from picoauth_privateauth.consent import Consent
from picoauth_privateauth.discovery import Discovery
from picoauth_privateauth.exchange import Exchange
from picoauth_privateauth.granted import Granted
from picoauth_privateauth.me import Me, shown
from picoauth_privateauth.permissions import Rights
from picoauth_privateauth.profiles import Profiles, canonical
from picoauth_privateauth.requests import CLEAN, VOID_REQUESTS, Requests
from picoauth_privateauth.routes import Parts, routes
from picoauth_privateauth.schema import MIGRATIONS
from picoauth_privateauth.settings import BUILT_IN, PrivateAuthSettings
from picoauth_privateauth.tokens import END_ALL, VOID_FAMILIES, ClientTokens

if TYPE_CHECKING:
    import click

HOURLY = 3600
ALL_ENDED = (IdentifierRestored, SessionsEnded, UserClosed, UserDisabled)
"""Events that end all sessions of a user, or all but one."""


class PrivateAuthPlugin(Plugin[PrivateAuthSettings]):
    """Puts the parts together."""

    def __init__(self, auth: Auth, name: str, settings: PrivateAuthSettings) -> None:
        super().__init__(auth, name, settings)
        self.clients = Clients(settings, auth.now)
        self.profiles = Profiles(auth, self.clients.hosts, self.clients.turns)
        self.rights = Rights(auth, self.clients)
        self.granted = Granted(auth)
        self.requests = Requests(auth, settings.request_life)
        self.codes = Codes(auth, self.profiles, self.rights, settings.code_life)
        self.tokens = ClientTokens(auth, settings, self.profiles, self.rights)
        self.parts = self.assembled()

    def assembled(self) -> Parts:
        """What answers the routes."""
        discovery = Discovery(self.auth, self.profiles, self.settings.scopes)
        reader = Reader(self.clients, self.settings.scopes, discovery.issuer)
        consent = Consent(
            self.auth,
            requests=self.requests,
            codes=self.codes,
            profiles=self.profiles,
            rights=self.rights,
            clients=self.clients,
            issuer=discovery.issuer,
        )
        return Parts(
            discovery=discovery,
            authorization=Authorization(reader, self.requests, self.consent_url),
            consent=consent,
            exchange=Exchange(self.codes, self.tokens, self.rights),
            me=Me(self.auth, self.profiles),
            granted=self.granted,
            page=BuiltIn(self.auth, consent) if self.settings.consent_url == BUILT_IN else None,
        )

    @property
    def consent_url(self) -> str:
        built_in = f"{self.auth.config.public_url}{builtin.PATH}"
        return built_in if self.settings.consent_url == BUILT_IN else self.settings.consent_url

    @hookimpl
    def migrations(self) -> Sequence[str]:
        return MIGRATIONS

    @hookimpl
    def routes(self) -> Sequence[Route]:
        """Made when all plugins are there, since one of them keeps permissions."""
        self.rights.check(self.settings.clients)
        return routes(self.parts, self.auth.config, pages=self.settings.profile_pages)

    @hookimpl
    def commands(self) -> Sequence[click.Command]:
        from picoauth_privateauth.commands import commands  # noqa: PLC0415 - the server has none

        return commands(self)

    @hookimpl
    def checks(self) -> Sequence[Check]:
        return Checkups(self.auth, self.settings).checks()

    @hookimpl
    def jobs(self) -> Sequence[Job]:
        return [Job("privateauth-clean", HOURLY, self.clean, purges=True)]

    @hookimpl
    def record(self, event: Event) -> Addition | None:
        """With all sessions of a user, all that was got through them ends, too (R-5).

        Which tokens were spent or given up since a backup was made is not known: none counts.
        """
        if isinstance(event, BackupRestored):
            return Addition([Statement(VOID_REQUESTS), Statement(VOID_FAMILIES)])
        if isinstance(event, ALL_ENDED) or (isinstance(event, CredentialChanged) and event.reset):
            return Addition(self.ending(str(event.user_id)))
        return None

    def ending(self, user_id: str) -> Sequence[Statement]:
        """Void a user's codes, and the tokens of all clients; what was granted stays granted."""
        return [self.codes.voiding(user_id), Statement(END_ALL, (user_id,))]

    @hookimpl
    async def export(self, user: User) -> Mapping[str, Any]:
        person = await self.profiles.person(user.id)
        known = shown(person) if person else {}
        return {**known, "grants": list(await self.granted.of(user.id))}

    async def clean(self) -> None:
        """What expired long ago is of no use to anybody."""
        requests = Statement(CLEAN, (self.auth.now() - HOURLY,))
        await self.auth.database.write(requests, *self.tokens.cleaning())

    async def give(self, user: User, add: str | None, remove: str | None, caller: Caller) -> None:
        """Add and remove profile URLs for an administrator. Raises AuthError."""
        if add is not None:
            await self.profiles.add(user.id, canonical(add), caller)
        if remove is not None:
            await self.profiles.remove(user.id, canonical(remove), caller)
