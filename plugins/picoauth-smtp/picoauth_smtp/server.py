"""The way to the mail server: connection, TLS, login, and the end of it."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from picoauth import ConfigError, Unavailable
from picoauth_smtp.settings import SmtpSettings
from picoauth_smtp.verdicts import judging

if TYPE_CHECKING:
    from aiosmtplib import SMTP

FAREWELL = 2.0
"""Seconds that a server may take to say good-bye."""


class Server:
    """A mail server, and who we are to it. Nothing is connected before it is asked for.

    Raises ConfigError for a password or a file that is not there.
    """

    def __init__(self, settings: SmtpSettings, name: str) -> None:
        self.settings = settings
        self.name = name
        """What we call ourselves, a domain (RFC 5321, section 4.1.1.1)."""
        self.password = settings.password.read() if settings.password else b""
        self.context = self.trusting() if settings.ca else None

    def trusting(self) -> ssl.SSLContext:
        """Authority and their names are looked at; nothing older than TLS 1.2 is spoken."""
        try:
            return ssl.create_default_context(cafile=self.settings.ca)
        except OSError as error:  # and so is ssl.SSLError
            raise ConfigError(
                f"[smtp].ca: {self.settings.ca} cannot be read as certificates: name a file in PEM."
            ) from error

    async def opened(self) -> SMTP:
        """A connection that takes mail. Raises Unavailable, with all closed again."""
        from aiosmtplib import SMTP  # noqa: PLC0415 - on first use

        host, port = self.settings.address
        if self.context is None and self.settings.mode != "none":
            self.context = await asyncio.to_thread(self.trusting)  # it reads hundreds of files
        client = SMTP(
            hostname=host,
            port=port,
            local_hostname=self.name,
            timeout=None,  # whoever asks has a time for all of it
            use_tls=self.settings.mode == "implicit",
            start_tls=False,
            tls_context=self.context,
        )
        try:
            await self.introduce(client)
        except BaseException:
            cut(client)
            raise
        return client

    async def introduce(self, client: SMTP) -> None:
        with judging("the connection"):
            await client.connect()
            await client.ehlo()
        if self.settings.mode == "starttls":
            await self.encrypt(client)
        if self.settings.username is not None:
            await self.log_in(client, self.settings.username)

    async def encrypt(self, client: SMTP) -> None:
        """What the server said before is forgotten: anybody on the way may have said it."""
        if not client.supports_extension("starttls"):
            raise Unavailable("the mail server offers no STARTTLS, and nothing is sent without TLS")
        with judging("STARTTLS"):
            await client.starttls()
            await client.ehlo()

    async def log_in(self, client: SMTP, username: str) -> None:
        """One try: a server that counts failures locks out who makes three of each."""
        ways = {"plain": client.auth_plain, "login": client.auth_login}
        way = next((ways[name] for name in ways if name in client.server_auth_methods), None)
        if way is None:
            raise Unavailable("the mail server offers no login by password (PLAIN or LOGIN)")
        with judging("user name and password"):
            await way(username, self.password)


def cut(client: SMTP) -> None:
    """Close at once, whatever is still to be written: closing in order would finish a message."""
    if client.transport is not None:
        cast("asyncio.WriteTransport", client.transport).abort()
    client.close()


async def farewell(client: SMTP) -> None:
    """Close as SMTP has it, if the server answers."""
    try:
        with suppress(Unavailable), judging("the end"):
            async with asyncio.timeout(FAREWELL):
                await client.execute_command(b"QUIT")
    finally:
        cut(client)
