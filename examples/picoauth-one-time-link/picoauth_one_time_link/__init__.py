"""Login links that an administrator makes at the command line, each good for one login."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import urlsplit

import click

from picoauth import (
    Attemptee,
    Auth,
    Caller,
    ConfigError,
    Denied,
    Event,
    Factor,
    Payload,
    Plugin,
    Proof,
    Seconds,
    Situation,
    User,
    described,
    hookimpl,
    run_started,
    text_of,
    user_of,
)

PURPOSE = "one-time-link"


def check_page(url: str) -> None:
    """Raises ValueError for a page to which a ticket would travel in clear, or by its query."""
    parts = urlsplit(url)
    local = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise ValueError("must be an address such as https://example.com/login")
    if "#" in url:
        raise ValueError("must have no fragment, which is where the ticket goes")


@dataclass(frozen=True)
class Settings:
    """The table `[one-time-link]`."""

    page: str = described("The application's login page.", check=check_page)
    life: Seconds = described(
        "How long a link is good.", default=Seconds(1800), least=60, most=86400
    )


@dataclass(frozen=True, kw_only=True)
class OneTimeLinkMade(Event):
    """An administrator made a login link for the user; links made before are void."""


class OneTimeLinkFactor(Factor):
    """Whoever has the link is the user, once."""

    name: ClassVar[str] = "one-time-link"
    starts: ClassVar[bool] = True
    example: ClassVar[Payload] = {"one-time-link": "kCsXTqVjJQJ5xGbSxdxMYJ0Xq1Vd0lGZyn2mVYh7iP8"}

    def __init__(self, auth: Auth) -> None:
        self.auth = auth

    async def identify(self, payload: Payload) -> Attemptee:
        return Attemptee(user=await self.owner(text_of(payload, self.name)))

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        ticket = text_of(payload, self.name)
        user = await self.owner(ticket)
        if user is None:
            raise Denied(self.refused)
        # Taken in the write of this step: of two racers one wins, and a refusal spends nothing.
        taking = self.auth.tickets.taking(PURPOSE, ticket)
        return Proof(user=user, amr=("otp",), statements=[taking])

    async def owner(self, ticket: str) -> User | None:
        """Whose link it is, unless the account changed since it was made."""
        found = await self.auth.tickets.look(PURPOSE, ticket)
        user = await self.auth.users.get(found.user_id or "") if found else None
        return user if found and user and user.epoch == found.data else None


class OneTimeLinkPlugin(Plugin[Settings]):
    """The factor, and the command that makes links."""

    @hookimpl
    def factors(self) -> Sequence[Factor]:
        return [OneTimeLinkFactor(self.auth)]

    @hookimpl
    def commands(self) -> Sequence[click.Command]:
        @click.command()
        @click.argument("user")
        def make(user: str) -> None:
            """Print a link that logs the user in once; it voids those made before.

            Whoever gets the link gets the account, but for its second factor.
            """
            click.echo(run_started(self.auth, lambda: self.link(user)))

        return [make]

    async def link(self, name: str) -> str:
        """A new link for a user. Raises ConfigError for one who could not log in by it."""
        user = await user_of(self.auth, name)
        if user.disabled_at is not None:
            raise ConfigError(f"{name} is disabled: `picoauth users enable {name}` comes first.")
        tickets, now = self.auth.tickets, self.auth.now()
        end = now + self.settings.life
        ticket, issuing = tickets.issue(PURPOSE, user.epoch, user_id=user.id, expires_at=end)
        voiding = tickets.voiding(PURPOSE, user.id)
        event = OneTimeLinkMade(at=now, user_id=user.id, caller=Caller.local())
        await self.auth.events.commit(event, voiding, issuing)
        return f"{self.settings.page}#{PURPOSE}={ticket}"
