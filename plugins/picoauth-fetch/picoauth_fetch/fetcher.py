"""The fetcher: one GET with its redirects, or one POST without, within one time."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from picoauth import ConfigError
from picoauth_fetch.refusals import FetchFailed, FetchRefused
from picoauth_fetch.resolving import Resolver
from picoauth_fetch.urls import Target, followed, read

REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True)
class Answer:
    """What was there in the end; any status is an answer."""

    url: str
    """Where the answer is from: the last of the redirects. Without a fragment."""
    status: int
    headers: Mapping[str, str]
    """By name in lower case; what came several times is one list, with commas."""
    body: bytes
    """As it came: which charset it has is for whoever reads it."""
    redirects: tuple[tuple[int, str], ...] = ()
    """Status and URL of each step that was followed: 301 and 308 are for good."""


class Fetcher:
    """Fetches what strangers name, in the name of one plugin. It holds nothing open.

    `private` also allows the own networks and loopback, `insecure` also http. `timeout` is the
    seconds for all of a fetch with its redirects, `limit` the bytes of its body. `ca` is a file
    with the certificates that are trusted instead of the system's.

    `names` stands for DNS in tests, and is refused outside of them: name to address, which is
    checked like any, or to `address:port`, where a server of the test is reached unchecked.
    Raises ConfigError.
    """

    def __init__(
        self,
        *,
        agent: str,
        private: bool = False,
        timeout: float = 3.0,
        limit: int = 262_144,
        redirects: int = 2,
        insecure: bool = False,
        ca: Path | None = None,
        names: Mapping[str, str | Sequence[str]] | None = None,
    ) -> None:
        if names is not None and "picoauth.testing" not in sys.modules:
            raise ConfigError("A map of names is for tests alone: leave it out, and use DNS.")
        self.agent = agent
        self.private = private
        self.timeout = timeout
        self.limit = limit
        self.redirects = redirects
        self.insecure = insecure
        self.names = names or {}
        self.context = trusting(ca) if ca else None
        self.resolver = Resolver()

    async def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> Answer:
        """Raises FetchRefused and FetchFailed."""
        target = read(url, insecure=self.insecure)
        async with self.within_time():
            return await self.follow(target, headers or {})

    async def post(
        self, url: str, body: bytes, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request; a redirect is an answer like any. Raises FetchRefused and FetchFailed."""
        target = read(url, insecure=self.insecure)
        async with self.within_time():
            return await self.ask("POST", target, headers or {}, body)

    def check(self, url: str) -> None:
        """Whether this may be fetched, by its spelling alone. Raises FetchRefused."""
        read(url, insecure=self.insecure)

    @asynccontextmanager
    async def within_time(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.timeout):
                yield
        except TimeoutError as error:
            raise FetchFailed(f"its answer took longer than {self.timeout:g} s") from error

    async def follow(self, target: Target, headers: Mapping[str, str]) -> Answer:
        """Follow redirects, each to a URL and an address that are checked like the first (I-5)."""
        first, steps = target, list[tuple[int, str]]()
        while True:
            # Whatever the caller says may be meant for the first host alone.
            said = headers if target.origin == first.origin else accepting(headers)
            answer = await self.ask("GET", target, said, None)
            location = answer.headers.get("location")
            if answer.status not in REDIRECTS or location is None or not self.redirects:
                return replace(answer, redirects=tuple(steps))
            if len(steps) == self.redirects:
                raise FetchRefused(f"more than {self.redirects} redirects")
            target = followed(target, location, insecure=self.insecure)
            steps.append((answer.status, str(target)))

    async def ask(
        self, method: str, target: Target, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        from picoauth_fetch.wire import Exchange, Guard  # noqa: PLC0415 - httpcore, on first use

        if self.context is None:
            self.context = await asyncio.to_thread(trusting)  # it reads hundreds of files
        guard = Guard(self.resolver, private=self.private, names=self.names)
        exchange = Exchange(guard, self.context, self.limit, self.timeout)
        said = {
            "Host": target.authority,
            "User-Agent": self.agent,
            "Accept-Encoding": "identity",
            "Connection": "close",
            **headers,
        }
        reply = await exchange.run(method, target, said, body)
        return Answer(str(target), reply.status, reply.headers, reply.body)


def accepting(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() == "accept"}


def trusting(ca: Path | None = None) -> ssl.SSLContext:
    """Certificates and their names are looked at; nothing older than TLS 1.2 is spoken.

    Where the system has no authorities, as in small containers, those of certifi are trusted.
    """
    paths = ssl.get_default_verify_paths()
    if ca is None and paths.cafile is None and paths.capath is None:
        import certifi  # noqa: PLC0415 - seldom needed

        ca = Path(certifi.where())
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:  # and so is ssl.SSLError
        raise ConfigError(f"{ca} cannot be read as certificates: name a file in PEM.") from error
