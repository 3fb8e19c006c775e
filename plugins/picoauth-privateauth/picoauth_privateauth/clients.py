"""Clients: those that the operator registered, and those that say themselves who they are."""

from __future__ import annotations

import asyncio
import base64
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from picoauth_fetch import Answer, Fetcher, FetchFailed, FetchRefused
from picoauth_fetch import web as urls
from picoauth_fetch.hosts import Hosts
from picoauth_fetch.web import Web
from picoauth_privateauth import documents
from picoauth_privateauth.documents import Document, Source
from picoauth_privateauth.freshness import life
from picoauth_privateauth.problems import CLIENT_REFUSED, REDIRECT_REFUSED, refused
from picoauth_privateauth.settings import PrivateAuthSettings, RegisteredClient

REMEMBERED = 256
"""Clients whose documents are remembered."""
LOGOS = 64
"""Pictures that are remembered, of `LOGO_LIMIT` bytes at most."""
AT_ONCE = 16
"""Pages of clients that are got at one time, so that nobody makes this server a hammer."""
LOGO_LIMIT = 32 * 1024
PICTURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"RIFF": "image/webp",
}
"""By their first bytes. No SVG, which is a program."""


T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Client:
    """Who asks. Whatever it says of itself is text to be shown, and proves nothing."""

    client_id: str
    name: str | None = None
    client_uri: str | None = None
    source: Source = "none"
    verified: bool = False
    """Whether what is known comes from the operator, or by https from the URL that it names."""
    warnings: tuple[str, ...] = ()
    redirect_uris: tuple[str, ...] = ()
    strict: bool = False
    """Whether these are all that there are."""
    registered: RegisteredClient | None = None

    @property
    def legacy(self) -> bool:
        return self.registered is not None and self.registered.legacy

    @property
    def needs_pkce(self) -> bool:
        return self.registered is None or self.registered.pkce == "required"

    def check_redirect(self, text: str) -> None:
        """Raises AuthError unless browsers may be sent there (IndieAuth, section 5.2)."""
        listed = text in self.redirect_uris
        try:
            found = urls.redirect(text)
        except ValueError as error:
            raise refused(REDIRECT_REFUSED, f"redirect_uri {error}") from error
        own = found is not None and found.origin == urls.client_id(self.client_id).origin
        if not (listed or (own and not self.strict)):
            raise refused(REDIRECT_REFUSED, "redirect_uri is none of this client's")


class Clients:
    """Finds clients. The pages of unknown ones are got, from public addresses only."""

    def __init__(self, settings: PrivateAuthSettings, now: Callable[[], int]) -> None:
        self.settings = settings
        self.now = now
        self.registered = {str(urls.client_id(c.client_id)): c for c in settings.clients}
        self.known: OrderedDict[str, tuple[int, Client]] = OrderedDict()
        # It follows no redirect: a document is at its URL, or nowhere (CIMD).
        self.fetcher = Fetcher(
            agent="picoauth-privateauth",
            timeout=settings.fetch_timeout,
            limit=settings.fetch_limit,
            redirects=0,
            insecure=settings.http_clients == "all",
        )
        self.logos: OrderedDict[str, str] = OrderedDict()
        self.turn = asyncio.Semaphore(AT_ONCE)
        self.hosts = Hosts(settings.fetches, now)

    async def find(self, text: str) -> Client:
        """The client of a `client_id`, as it came. Raises AuthError."""
        try:
            found = urls.client_id(text)
        except ValueError as error:
            raise refused(CLIENT_REFUSED, f"client_id {error}") from error
        registered = self.registered.get(str(found))
        if registered is not None:
            return of_operator(found, registered)
        if not self.settings.open_clients:
            raise refused(CLIENT_REFUSED, "client_id is none of those that are registered here")
        if self.settings.http_clients == "loopback" and not urls.is_secure(found):
            raise refused(CLIENT_REFUSED, "client_id must begin with https://")
        if found.is_loopback:
            return Client(client_id=str(found), source="loopback", warnings=("loopback",))
        return await self.discovered(found, text)

    def logo(self, client_id: str) -> str | None:
        """The picture itself, as a `data:` URL: users load nothing from the client."""
        return self.logos.get(client_id)

    async def discovered(self, found: Web, text: str) -> Client:
        """What a client's page says, from memory where that is fresh."""
        until, client = self.known.get(str(found), (0, None))
        if client is not None and self.now() < until:
            return client
        self.logos.pop(str(found), None)  # of a page that may have changed, or have been lost
        if not self.settings.fetch_clients:
            return self.described(found, None)
        answer = await self.got(str(found), "application/json, text/html;q=0.9, */*;q=0.1")
        if answer is None or answer.status != 200:  # noqa: PLR2004 - RFC 9110
            return self.described(found, None)
        document = self.read(answer, [str(found), text])
        client = self.described(found, document)
        seconds = life(answer.headers, self.settings.cache, self.now())
        if seconds > 0:  # errors are never kept
            keep(self.known, client.client_id, (self.now() + seconds, client), REMEMBERED)
        logo = await self.picture(document.logo_uri)
        if logo is not None:
            keep(self.logos, client.client_id, logo, LOGOS)
        return client

    def read(self, answer: Answer, names: Sequence[str]) -> Document:
        """Raises AuthError where a JSON document says something else than that it is this client."""
        if not documents.is_json(answer.headers):
            return documents.from_page(answer.body, answer.headers, names)
        try:
            return documents.from_json(answer.body, names)
        except ValueError as error:
            raise refused(CLIENT_REFUSED, f"the document at client_id {error}") from error

    def described(self, found: Web, document: Document | None) -> Client:
        secure = found.scheme == "https"
        warnings = [] if secure else ["not_https"]
        if document is None:
            warnings.append("not_fetched")
            return Client(client_id=str(found), warnings=tuple(warnings))
        if document.client_uri and host(document.client_uri) != found.host:
            warnings.append("client_uri_host_differs")
        return Client(
            client_id=str(found),
            name=document.name,
            client_uri=document.client_uri,
            source=document.source,
            verified=secure,
            warnings=tuple(warnings),
            redirect_uris=document.redirect_uris,
            strict=document.source == "metadata" and bool(document.redirect_uris),
        )

    async def picture(self, url: str | None) -> str | None:
        """A logo, so that it can be shown without being loaded from the client."""
        answer = await self.got(url, "image/*") if url else None
        if answer is None or answer.status != 200 or len(answer.body) > LOGO_LIMIT:  # noqa: PLR2004
            return None
        body = answer.body
        media = next((kind for first, kind in PICTURES.items() if body.startswith(first)), None)
        return media and f"data:{media};base64,{base64.b64encode(body).decode()}"

    async def got(self, url: str, accept: str) -> Answer | None:
        """A page, or None where it cannot be had: that is no error (IndieAuth, section 4.2).

        Nor is it asked for where its host was asked too often: strangers choose it.
        """
        if self.hosts.wait(url):
            return None
        try:
            async with asyncio.timeout(2 * self.settings.fetch_timeout), self.turn:
                return await self.fetcher.get(url, headers={"accept": accept})
        except (FetchFailed, FetchRefused, TimeoutError):
            return None


def keep(known: OrderedDict[str, T], name: str, value: T, most: int) -> None:
    """Remember the newest, and forget the oldest above so many."""
    known[name] = value
    known.move_to_end(name)
    if len(known) > most:
        known.popitem(last=False)


def of_operator(found: Web, registered: RegisteredClient) -> Client:
    return Client(
        client_id=str(found),
        name=registered.name,
        source="registered",
        verified=True,
        redirect_uris=registered.redirect_uris,
        strict=True,
        registered=registered,
    )


def host(url: str) -> str | None:
    try:
        return urls.web(url).host
    except ValueError:
        return None
