"""The plugin: asks its lists about every new password, and never about a login."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

from picoauth import (
    Auth,
    AuthError,
    Check,
    ConfigError,
    Denied,
    Plugin,
    Problem,
    hookimpl,
    problems,
)
from picoauth_hibp.breaker import Breaker
from picoauth_hibp.checkups import Checkups
from picoauth_hibp.digests import digest, is_common
from picoauth_hibp.filters import Filter
from picoauth_hibp.settings import HibpSettings
from picoauth_hibp.words import PRODUCT, is_made_of, of_site, of_user
from picoauth_password import PasswordContext

if TYPE_CHECKING:
    import click

    from picoauth_hibp.ranges import Online

log = logging.getLogger("picoauth.hibp")

PASSWORD_BREACHED = Problem(
    400, "password_breached", "This password is known to attackers: choose another one."
)
PASSWORD_GUESSABLE = Problem(
    400, "password_guessable", "This password is easily guessed: choose another one."
)
COMMON = "It is among those that are used most."
BREACHED = "It is among those that were stolen elsewhere."
CONTEXT = "It is little more than the name of this site, your name or your address."
UNCHECKED = "It cannot be looked at right now whether the password is known: try again later."
DECIDES = {
    "offline": "the lists that are here decide",
    "allow": "new passwords are taken unless they are among the commonest",
    "deny": "no new password is taken",
}


class HibpPlugin(Plugin[HibpSettings]):
    """Refuses new passwords that are a name, common, or known from breaches."""

    requires: ClassVar[Sequence[str]] = ("password",)

    def __init__(self, auth: Auth, name: str, settings: HibpSettings) -> None:
        super().__init__(auth, name, settings)
        self.filter: Filter | None = None
        self.online: Online | None = None
        host = urlsplit(auth.config.public_url).hostname or ""
        self.site = (PRODUCT, *of_site(host), *settings.words)

    @hookimpl
    def password_refusals(self) -> Sequence[Problem]:
        denies = self.settings.mode == "online" and self.settings.on_error == "deny"
        both = (PASSWORD_BREACHED, PASSWORD_GUESSABLE)
        return (*both, problems.UNAVAILABLE) if denies else both

    @hookimpl
    async def check_password(self, password: str, context: PasswordContext) -> Problem | None:
        """Ask what is here before anyone else is asked."""
        if is_made_of(password, [*self.site, *of_user(context)]):
            raise Denied(PASSWORD_GUESSABLE, CONTEXT, reason="context")
        if is_common(password):
            raise Denied(PASSWORD_BREACHED, COMMON, reason="common")
        if await self.is_breached(digest(password)):
            raise Denied(PASSWORD_BREACHED, BREACHED, reason="breached")
        return None

    async def is_breached(self, wanted: bytes) -> bool:
        """By the API where it is to be asked and answers, else by the filter, if there is one."""
        if self.settings.mode == "offline":
            return await self.filtered(wanted)
        from picoauth_hibp.ranges import Unanswered  # noqa: PLC0415 - where it is used at all

        try:
            return await self.asked().has(wanted)
        except Unanswered as error:
            decides = self.settings.on_error
            log.warning("the range API gave no answer (%s): %s", error, DECIDES[decides])
        if decides == "deny":
            headers = {"Retry-After": str(self.settings.pause)}
            raise AuthError(problems.UNAVAILABLE, UNCHECKED, headers=headers)
        return decides == "offline" and await self.filtered(wanted)

    async def filtered(self, wanted: bytes) -> bool:
        """A page that is on a slow disk stops nobody else."""
        opened = self.opened()
        return opened is not None and await asyncio.to_thread(opened.has, wanted)

    def opened(self) -> Filter | None:
        """The filter, open from the first time on. Raises ConfigError."""
        if self.filter is None and self.settings.filter is not None:
            self.filter = Filter(self.settings.filter)
        return self.filter

    def asked(self) -> Online:
        """The range API, with its memory of answers and failures."""
        from picoauth_hibp.ranges import Online, RangeApi  # noqa: PLC0415 - where it is used at all

        if self.online is None:
            settings, now = self.settings, self.auth.now
            api = RangeApi(settings.url, settings.patience_ms / 1000, settings.ca)
            breaker = Breaker(settings.failures, settings.pause, now)
            self.online = Online(api, breaker, now, self.say)
        return self.online

    def say(self, what: str) -> None:
        log.warning("the range API %s", what)

    @hookimpl
    def commands(self) -> Sequence[click.Command]:
        from picoauth_hibp.commands import commands  # noqa: PLC0415 - for the CLI alone

        return commands(self)

    @hookimpl
    def checks(self) -> Sequence[Check]:
        return Checkups(self.settings, self.auth.now).checks()

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None]:
        return self.ready()

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[None]:
        """See that what the settings name is there, before somebody's password waits for it."""
        self.opened()
        try:
            if self.settings.mode == "online":
                await self.load()
            yield
        finally:
            if self.filter is not None:
                self.filter.close()
                self.filter = None

    async def load(self) -> None:
        try:
            await self.asked().api.load()
        except (OSError, ssl.SSLError):
            raise ConfigError(
                f"ca in [hibp]: {self.settings.ca} cannot be read as certificates: "
                "name a file in PEM."
            ) from None
