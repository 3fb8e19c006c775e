"""A range API for tests: it speaks HTTP/1.1 over TLS, and answers as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from picoauth_fetch.testing import Authority

PADDING = [f"{hashlib.sha1(b'%d' % n).hexdigest().upper()[5:]}:0" for n in range(800)]
"""Lines that stand for nothing, of which an answer has hundreds."""


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


Act = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class RangeServer:
    """What was asked, and what is known; `act` does something else than answer."""

    port: int = 0
    requests: list[str] = field(default_factory=list)
    breached: set[str] = field(default_factory=set)
    padded: set[str] = field(default_factory=set)
    """Passwords whose digests are in the padding, with a count of 0."""
    act: Act | None = None
    sent: int = 0
    """Bytes of answers without an end."""

    @property
    def asked(self) -> int:
        return len(self.requests)

    def say(self, raw: bytes) -> None:
        """Answer so from now on."""

        async def act(writer: asyncio.StreamWriter) -> None:
            writer.write(raw)

        self.act = act

    def lines(self, prefix: str) -> list[str]:
        shown = [(one, 7) for one in self.breached] + [(one, 0) for one in self.padded]
        digests = [(hashlib.sha1(text.encode()).hexdigest().upper(), n) for text, n in shown]
        return [f"{digest[5:]}:{n}" for digest, n in digests if digest.startswith(prefix)]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(head)
            if self.act is not None:
                await self.act(writer)
            else:
                prefix = head.split()[1].rpartition("/")[2]
                lines = sorted([*PADDING, *self.lines(prefix)])
                writer.write(answer("\r\n".join(lines).encode()))
            await writer.drain()
        writer.close()

    async def hang(self, writer: asyncio.StreamWriter) -> None:
        """Say nothing until the client goes away."""
        await writer.wait_closed()

    async def endless(self, writer: asyncio.StreamWriter) -> None:
        """A gigabyte of lines, as long as somebody reads them."""
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while self.sent < 1_000_000_000:
            block = "".join(f"{line}\r\n" for line in PADDING).encode()
            writer.write(block)
            self.sent += len(block)
            await asyncio.sleep(0)  # to learn that nobody reads on
            await writer.drain()


@asynccontextmanager
async def range_server(
    certificates: Authority, *, name: str = "127.0.0.1"
) -> AsyncIterator[RangeServer]:
    server = RangeServer()
    context = certificates.context(name)
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0, ssl=context)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await listening.wait_closed()
