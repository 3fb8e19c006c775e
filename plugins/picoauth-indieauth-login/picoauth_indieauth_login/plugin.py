"""Sign in with a domain, or at a trusted endpoint, as a picoauth plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from picoauth import (
    Addition,
    Auth,
    AuthError,
    Check,
    Condition,
    Event,
    Factor,
    FactorRemoved,
    Payload,
    Plugin,
    Route,
    User,
    hookimpl,
    problems,
    text_of,
)
from picoauth_fetch import Fetcher
from picoauth_indieauth_login.accounts import FACTOR, MIGRATIONS, Accounts
from picoauth_indieauth_login.checkups import Checkups
from picoauth_indieauth_login.client import Asked, Client
from picoauth_indieauth_login.factor import IndieAuthFactor
from picoauth_indieauth_login.problems import UNKNOWN_ENDPOINT
from picoauth_indieauth_login.profiles import candidates, canonical, unusable
from picoauth_indieauth_login.routes import Routes
from picoauth_indieauth_login.settings import IndieAuthLoginSettings
from picoauth_indieauth_login.starts import Starts

AGENT = "picoauth-indieauth-login"
HOPS = 5
"""Redirects that lead to a profile page, at most (IndieAuth, section 4.1)."""


class IndieAuthLoginPlugin(Plugin[IndieAuthLoginSettings]):
    """The factor `indieauth`, its table and its routes."""

    def __init__(self, auth: Auth, name: str, settings: IndieAuthLoginSettings) -> None:
        super().__init__(auth, name, settings)
        self.client = Client(auth, settings)
        self.client.fetching(
            self.fetcher(private=settings.private, insecure=settings.http_profiles),
            self.fetcher(private=True, insecure=True),  # whose URLs the operator chose
        )
        self.accounts = Accounts(auth, settings.most)
        self.starts = Starts(settings.starts, auth.now)
        self.listed = frozenset(canonical(one) for one in settings.listed)

    def fetcher(self, **more: Any) -> Fetcher:
        bounds: dict[str, Any] = {"timeout": self.settings.timeout, "limit": self.settings.limit}
        return Fetcher(agent=AGENT, redirects=HOPS, **bounds, **more)

    @hookimpl
    def migrations(self) -> Sequence[str]:
        return MIGRATIONS

    @hookimpl
    def factors(self) -> Sequence[Factor]:
        return [IndieAuthFactor(self)]

    @hookimpl
    def routes(self) -> Sequence[Route]:
        return Routes(self).routes()

    @hookimpl
    def checks(self) -> Sequence[Check]:
        return Checkups(self).checks()

    @hookimpl
    def record(self, event: Event) -> Addition | None:
        """A domain whose link goes finds nobody any more; looked up while the link is there."""
        if not isinstance(event, FactorRemoved) or event.factor != FACTOR:
            return None
        unnaming = self.accounts.unnaming(str(event.user_id), event.enrolment_id)
        return Addition(conditions=[Condition(unnaming, problems.CONFLICT)])

    @hookimpl
    async def export(self, user: User) -> Mapping[str, Any]:
        links = await self.accounts.known(user.id)
        return {"links": links} if links else {}

    async def ask(self, payload: Payload) -> tuple[Asked, str]:
        """Ask the endpoint of a domain, or a trusted one, who it is. Raises AuthError."""
        if "endpoint" in payload:
            endpoint = self.client.endpoints.get(text_of(payload, "endpoint"))
            if endpoint is None or "me" in payload:
                raise AuthError(UNKNOWN_ENDPOINT)
            return self.client.ask_trusted(endpoint)
        typed = text_of(payload, "me")
        if not self.settings.domains:
            raise unusable("only trusted endpoints are asked here")
        self.starts.check(candidates(typed, http=self.settings.http_profiles)[0])
        return await self.client.ask(typed)
