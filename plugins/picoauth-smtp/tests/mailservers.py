"""Real mail servers in the test's own process, over TLS, that refuse, hang or break off when told."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope

HANG, RESET, DEAF = "hang", "reset", "deaf"
"""Said in place of an answer: none comes, or the connection breaks, or it reads no more for a while."""
ONCE = "once "
"""Before an answer that is for the next time alone."""
USER, PASSWORD = "auth@example.org", "hunter2 hunter2"


@dataclass
class MailServer:
    """What a server got, and what it is told to say."""

    port: int = 0
    got: list[Envelope] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    """Every command of clients, without the data."""
    script: dict[str, str] = field(default_factory=dict)
    """Answers by command; `CONNECT` is the greeting, `END` what follows the message."""
    options: dict[str, Any] = field(default_factory=dict)
    implicit: ssl.SSLContext | None = None
    offering: Callable[[str], bool] = lambda _: True
    """Which lines of its answer to EHLO it really says."""
    strangers: set[str] = field(default_factory=set)
    """Addresses that it refuses for good."""
    heard: bytes = b""
    """All that came to a server that was deaf for a while."""
    open: set[Spoken] = field(default_factory=set)
    connections: int = 0
    logins: int = 0
    reached: dict[str, asyncio.Event] = field(default_factory=dict)
    listening: asyncio.Server | None = None

    @property
    def mails(self) -> list[EmailMessage]:
        return [parsed(envelope) for envelope in self.got]

    async def reaches(self, command: str) -> None:
        """Until a client has said that."""
        await asyncio.wait_for(self.at(command).wait(), 20)

    def at(self, command: str) -> asyncio.Event:
        return self.reached.setdefault(command, asyncio.Event())

    def answer(self, command: str) -> str | None:
        """What it is told to say, now that a client came to this."""
        self.at(command).set()
        answer = self.script.get(command)
        if answer is not None and answer.startswith(ONCE):
            return self.script.pop(command).removeprefix(ONCE)
        return answer

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self.listening = await loop.create_server(
            lambda: Spoken(self, loop), "127.0.0.1", self.port, ssl=self.implicit
        )
        self.port = self.listening.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """At once, as a machine does that loses its power."""
        assert self.listening is not None
        self.listening.close()
        for each in list(self.open):
            each.break_off()
        while self.open:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)

    # What aiosmtpd asks its handler.

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:  # noqa: N802
        answer = self.answer("END") or "250 OK"
        if answer in (HANG, RESET):
            await server.fail(answer)
        if answer.startswith("250"):
            self.got.append(envelope)
        return answer

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Envelope, to: str, options: Any
    ) -> str:
        if to in self.strangers:
            return f"550 5.1.1 <{to}>: nobody here has that name"
        envelope.rcpt_tos.append(to)
        return "250 OK"

    async def handle_EHLO(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, name: str, lines: list[str]
    ) -> list[str]:
        session.host_name = name
        return [line for line in lines if self.offering(line)]

    def authenticate(self, server: Any, session: Any, envelope: Any, way: str, data: Any) -> Any:
        self.logins += 1
        right = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=right, handled=False)


def parsed(envelope: Envelope) -> EmailMessage:
    content = envelope.content
    assert isinstance(content, bytes)
    found = message_from_bytes(content, policy=policy.SMTP)
    assert isinstance(found, EmailMessage)
    return found


class Spoken(SMTP):
    """aiosmtpd's server on one connection."""

    def __init__(self, owner: MailServer, loop: asyncio.AbstractEventLoop) -> None:
        self.owner = owner
        super().__init__(
            owner, hostname="mx.test", loop=loop, authenticator=owner.authenticate, **owner.options
        )
        for command in ("EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "RSET", "QUIT"):
            self._smtp_methods[command] = self.scripted(command, self._smtp_methods[command])

    def scripted(self, command: str, usual: Any) -> Any:
        async def work(argument: str | None) -> None:
            self.owner.said.append(command)
            answer = self.owner.answer(command)
            if answer is None:
                await usual(argument)
            elif answer in (HANG, RESET):
                await self.fail(answer)
            elif answer == DEAF:
                await self.push("354 go on")
                self.transport.pause_reading()
                await self.owner.at("HEARING").wait()
                self.transport.resume_reading()
                while True:  # until it is cancelled, at the end of what comes
                    self.owner.heard += await self._reader.read(65536)
            else:
                await self.push(answer)

        return work

    async def fail(self, how: str) -> None:
        if how == RESET:
            self.break_off()
        try:
            await asyncio.Event().wait()
        finally:
            self._writer.close()

    def break_off(self) -> None:
        (self._original_transport or self.transport).abort()

    async def _handle_client(self) -> None:
        greeting = self.owner.answer("CONNECT")
        self.owner.connections += self._tls_protocol is None
        self.owner.open.add(self)
        if greeting in (HANG, RESET):
            await self.fail(greeting)
        elif greeting is not None:
            await self.push(greeting)
            self.transport.close()
        else:
            await super()._handle_client()

    def eof_received(self) -> bool | None:
        if self.owner.heard:
            self.owner.heard += self._reader._buffer
        return super().eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self.owner.open.discard(self)
        self.owner.at("LOST").set()


@asynccontextmanager
async def mail_server(
    *,
    starttls: ssl.SSLContext | None = None,
    implicit: ssl.SSLContext | None = None,
    script: Mapping[str, str] | None = None,
    **options: Any,
) -> AsyncIterator[MailServer]:
    """A server on loopback: with STARTTLS, with TLS from the start, or plain."""
    if starttls is not None:
        options |= {"tls_context": starttls, "require_starttls": True}
    server = MailServer(options=options, implicit=implicit, script=dict(script or {}))
    await server.start()
    try:
        yield server
    finally:
        with contextlib.suppress(AssertionError):
            await server.stop()
