"""Sends one message after the other over one connection, which is kept while there are more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email.headerregistry import Address
from typing import TYPE_CHECKING, cast

from picoauth import Message, Unavailable, Undeliverable
from picoauth_smtp.letter import Letter, written
from picoauth_smtp.server import Server, cut, farewell
from picoauth_smtp.verdicts import MESSAGE, RECIPIENT, judging

if TYPE_CHECKING:
    from aiosmtplib import SMTP


@dataclass(frozen=True)
class Patience:
    """Seconds. `turn` and `work` are less than the minute that the outbox gives a message.

    So a slow server is noted as such, and no message is cut off that is almost taken: it would
    be sent twice.
    """

    turn: float = 20
    """Until the messages before are sent."""
    work: float = 35
    """To connect and to send."""
    probe: float = 5
    """Until a connection that was kept answers; else there is a new one."""
    idle: float = 15
    """A connection is kept without a message."""


class SmtpMailer:
    """Fills the slot `mailer`."""

    def __init__(
        self,
        server: Server,
        sender: Address,
        now: Callable[[], int],
        patience: Patience,
    ) -> None:
        self.server = server
        self.sender = sender
        self.now = now
        self.patience = patience
        self.turn = asyncio.Lock()
        self.kept: SMTP | None = None
        self.resting: asyncio.Task[None] | None = None

    async def send(self, message: Message) -> None:
        """Raises Unavailable where another try may succeed, Undeliverable where none will."""
        letter = written(message, self.sender, self.now())
        await self.queue()
        try:
            self.wake()
            await self.deliver(letter)
        finally:
            self.turn.release()

    async def queue(self) -> None:
        try:
            async with asyncio.timeout(self.patience.turn):
                await self.turn.acquire()
        except TimeoutError:
            raise Unavailable("the mail server is busy with the messages before") from None

    async def deliver(self, letter: Letter) -> None:
        """Whatever goes wrong on a connection ends it, so that the next message meets no rest."""
        try:
            with judging("the message"):
                async with asyncio.timeout(self.patience.work):
                    await self.hand_over(letter)
        except Undeliverable:
            await self.reset()
            raise
        except BaseException:
            self.drop()
            raise
        self.linger()

    async def hand_over(self, letter: Letter) -> None:
        client = await self.addressed(letter)
        with judging(RECIPIENT):
            await client.rcpt(letter.to, encoding="utf-8")
        with judging(MESSAGE):
            await client.data(letter.content)

    async def addressed(self, letter: Letter) -> SMTP:
        """A connection that knows the sender; one that was kept may be gone by now."""
        if self.kept is not None:
            with suppress(Unavailable):
                return await self.begun(self.kept, letter, self.patience.probe)
            self.drop()
        self.kept = await self.server.opened()
        return await self.begun(self.kept, letter, None)

    async def begun(self, client: SMTP, letter: Letter, patience: float | None) -> SMTP:
        if not client.is_connected:  # and has forgotten what the server offered
            raise Unavailable("the mail server broke off the connection")
        if letter.utf8 and not client.supports_extension("smtputf8"):
            raise Undeliverable("the mail server takes no address of such letters (SMTPUTF8)")
        options = ["SMTPUTF8", "BODY=8BITMIME"] if letter.utf8 else []
        with judging("the sender"):
            await client.mail(letter.sender, options=options, timeout=patience)
        return client

    async def reset(self) -> None:
        """Forget a refused message: strangers' addresses should not make us connect anew."""
        client = cast("SMTP", self.kept)  # which it was refused on
        try:
            with judging("the message"):
                await client.rset(timeout=self.patience.probe)
        except Unavailable:
            self.drop()
        except BaseException:
            self.drop()
            raise
        else:
            self.linger()

    def drop(self) -> None:
        client, self.kept = self.kept, None
        if client is not None:
            cut(client)

    def linger(self) -> None:
        self.resting = asyncio.create_task(self.rest())

    def wake(self) -> None:
        if self.resting is not None:
            self.resting.cancel()
            self.resting = None

    async def rest(self) -> None:
        await asyncio.sleep(self.patience.idle)
        await self.leave()

    async def leave(self) -> None:
        client, self.kept = self.kept, None
        if client is not None:
            await farewell(client)

    async def close(self) -> None:
        """In the end; a message that is being sent is cut off, and will be sent again."""
        self.wake()
        if self.turn.locked():
            self.drop()
        await self.leave()
