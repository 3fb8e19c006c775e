"""The range API of Pwned Passwords: five characters of a digest go out, and nothing else."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import h11

from picoauth_hibp.breaker import Breaker

SENT = 5
"""Characters of the digest that the service learns, which are those of about 2,000 passwords."""
LONGEST = 1 << 20
"""Bytes of an answer."""
AGENT = "picoauth-hibp (breach check of new passwords)"
LINES = re.compile(rb"(?>[0-9A-F]{35}:[0-9]{1,12}(?:\r?\n|\Z))++")
FOUND = re.compile(rb"([0-9A-F]{35}):0*[1-9]")
"""A line that stands for a breach; a count of 0 is padding."""
CACHED, LIFE = 32, 600
"""Answers that are kept, and seconds: for who tries a password again, or almost the same."""


class Unanswered(Exception):
    """No usable answer; what it says goes to the log, and has nothing of what was asked."""


class RangeApi:
    """One request, over TLS, by a connection of its own."""

    def __init__(self, url: str, patience: float, ca: Path | None) -> None:
        self.url = urlsplit(url)
        self.patience = patience
        self.ca = ca
        self.context: ssl.SSLContext | None = None

    async def load(self) -> None:
        """Read the certificates that are trusted, which takes a while."""
        if self.url.scheme == "https" and self.context is None:
            self.context = await asyncio.to_thread(ssl.create_default_context, cafile=self.ca)

    async def ask(self, prefix: str) -> bytes:
        """The rests of digests that are known, each in a line. Raises Unanswered, in time."""
        await self.load()
        try:
            async with asyncio.timeout(self.patience):
                body = await self.get(prefix)
        except TimeoutError:
            raise Unanswered(f"no answer within {self.patience * 1000:.0f} ms") from None
        except (OSError, h11.RemoteProtocolError) as error:
            raise Unanswered(f"{type(error).__name__}: {error}") from None
        if not LINES.fullmatch(body.upper()):
            raise Unanswered("an answer that is no list of digests")
        return b"".join(rest + b"\n" for rest in FOUND.findall(body.upper()))

    async def get(self, prefix: str) -> bytes:
        port = self.url.port or (443 if self.context else 80)
        reader, writer = await asyncio.open_connection(
            self.url.hostname, port, ssl=self.context, happy_eyeballs_delay=0.25
        )
        try:
            return await self.spoken(prefix, reader, writer)
        finally:
            writer.transport.abort()

    async def spoken(
        self, prefix: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes:
        headers = {
            "Host": self.url.netloc.rpartition("@")[2],
            "User-Agent": AGENT,
            "Accept": "text/plain",
            "Accept-Encoding": "identity",
            "Add-Padding": "true",
            "Connection": "close",
        }
        connection = h11.Connection(h11.CLIENT)
        target = f"{self.url.path.rstrip('/')}/{prefix}"
        request = h11.Request(method="GET", target=target, headers=list(headers.items()))
        for part in (request, h11.EndOfMessage()):
            writer.write(connection.send(part) or b"")
        body = bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(65536))
            elif isinstance(event, h11.Response):
                check(event)
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > LONGEST:
                    raise Unanswered("an answer of more than 1 MiB")
            elif isinstance(event, h11.EndOfMessage):
                return bytes(body)


def check(response: h11.Response) -> None:
    """Nothing is followed, and nothing unpacked."""
    if response.status_code != 200:  # noqa: PLR2004 - HTTP's
        raise Unanswered(f"status {response.status_code}")
    if dict(response.headers).get(b"content-encoding", b"identity") != b"identity":
        raise Unanswered("an answer that is packed, though none was asked for")


class Online:
    """Asks the service where it is not known already, and leaves it alone while it fails."""

    def __init__(
        self, api: RangeApi, breaker: Breaker, now: Callable[[], int], say: Callable[[str], None]
    ) -> None:
        self.api = api
        self.breaker = breaker
        self.now = now
        self.say = say
        self.known: OrderedDict[str, tuple[int, bytes]] = OrderedDict()

    async def has(self, digest: bytes) -> bool:
        """Whether a password is known to be breached. Raises Unanswered."""
        text = digest.hex().upper()
        rests = self.kept(text[:SENT])
        if rests is None:
            rests = await self.asked(text[:SENT])
        return text[SENT:].encode() + b"\n" in rests

    def kept(self, prefix: str) -> bytes | None:
        at, rests = self.known.get(prefix, (0, None))
        return rests if 0 <= self.now() - at < LIFE else None

    async def asked(self, prefix: str) -> bytes:
        if not self.breaker.lets():
            raise Unanswered("it failed too often, and is left alone for a while")
        try:
            rests = await self.api.ask(prefix)
        except Unanswered as error:
            if self.breaker.fail():
                times, pause = self.breaker.failures, self.breaker.pause
                self.say(f"failed {times} times ({error}): nobody asks it for {pause} s")
            raise
        if self.breaker.succeed():
            self.say("answers again")
        self.known[prefix] = (self.now(), rests)
        self.known.move_to_end(prefix)
        if len(self.known) > CACHED:
            self.known.popitem(last=False)
        return rests
