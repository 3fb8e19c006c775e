"""The plugin: it fills the slot `mailer`, and tells the doctor whether mail would leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from picoauth import Auth, Check, Mailer, Plugin, Unavailable, hookimpl
from picoauth_smtp.mailer import Patience, SmtpMailer
from picoauth_smtp.server import Server, farewell
from picoauth_smtp.settings import SmtpSettings, sender
from picoauth_smtp.verdicts import judging


class SmtpPlugin(Plugin[SmtpSettings]):
    """Delivers mail to an SMTP server."""

    EXAMINED = 15.0
    """Seconds; the doctor gives a check twenty."""

    def __init__(self, auth: Auth, name: str, settings: SmtpSettings) -> None:
        super().__init__(auth, name, settings)
        self.sender = sender(settings.sender)
        self.server = Server(settings, self.sender.domain)
        self.delivering = SmtpMailer(self.server, self.sender, auth.now, Patience())

    @hookimpl
    def mailer(self) -> Mailer | None:
        return self.delivering

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None] | None:
        """Nothing is connected at the start: a mail server that is down keeps no server down."""
        return self.running()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await self.delivering.close()

    @hookimpl
    def checks(self) -> Sequence[Check]:
        return [
            Check(self.name, self.look, live=False),
            Check(f"{self.name}-tls", self.look_at_tls, live=False),
        ]

    async def look(self) -> str | None:
        """Everything but a mail."""
        try:
            with judging("the sender"):
                async with asyncio.timeout(self.EXAMINED):
                    client = await self.server.opened()
                    try:
                        await client.mail(self.sender.addr_spec)
                    finally:
                        await farewell(client)
        except Unavailable as error:
            return f"No mail can be sent, since {error}: see to that server, and to [smtp]."
        return None

    async def look_at_tls(self) -> str | None:
        if self.settings.mode != "none" or self.settings.loopback:
            return None
        return (
            "Mails, with their links, go to the mail server in clear: leave out "
            'tls = "none", or take a server on this machine.'
        )
