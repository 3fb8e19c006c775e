"""Clients: those that the operator registered, and those that say themselves who they are."""

from __future__ import annotations

import asyncio
import base64
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from picoauth import problems
from picoauth_fetch import Answer, FetchBusy, Fetcher, FetchFailed, FetchRefused
from picoauth_fetch import web as urls
from picoauth_fetch.hosts import Hosts
from picoauth_fetch.turns import Turns
from picoauth_fetch.web import Web
from picoauth_privateauth import documents
from picoauth_privateauth.documents import Document, Source
from picoauth_privateauth.freshness import life
from picoauth_privateauth.problems import CLIENT_REFUSED, REDIRECT_REFUSED, refused
from picoauth_privateauth.settings import PrivateAuthSettings, RegisteredClient

REMEMBERED = 256
"""Clients whose documents are remembered."""
STALE = 86400
"""Seconds for which a document that is fresh no more counts where no newer one can be had."""
RETRY = 10
"""Seconds after which another try makes sense where nobody was asked."""
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
            urls.redirect(text)
        except ValueError as error:
            raise refused(REDIRECT_REFUSED, f"redirect_uri {error}") from error
        own = is_own(text, urls.client_id(self.client_id))
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
        self.turns = Turns(AT_ONCE, 2 * settings.fetch_timeout)
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
        until, before = self.known.get(str(found), (0, None))
        if before is not None and self.now() < until:
            return before
        if self.now() >= until + STALE:
            before = None
        self.logos.pop(str(found), None)  # of a page that may have changed, or have been lost
        if not self.settings.fetch_clients:
            return self.described(found, None)
        try:
            answer = await self.got(str(found), "application/json, text/html;q=0.9, */*;q=0.1")
        except FetchBusy as error:
            if before is None:
                raise refused(problems.UNAVAILABLE, headers={"Retry-After": str(RETRY)}) from error
            return before
        if answer is None or answer.status != 200:  # noqa: PLR2004 - RFC 9110
            return self.unreachable(found, before)
        document = await self.read(answer, [str(found), text])
        client = self.described(found, document)
        seconds = life(answer.headers, self.settings.cache, self.now())
        if seconds > 0:  # errors are never kept
            keep(self.known, client.client_id, (self.now() + seconds, client), REMEMBERED)
        logo = await self.picture(document.logo_uri)
        if logo is not None:
            keep(self.logos, client.client_id, logo, LOGOS)
        return client

    async def read(self, answer: Answer, names: Sequence[str]) -> Document:
        """Raises AuthError where a JSON document says something else than that it is this client.

        A page is read in a thread: whoever has it decides how long that takes.
        """
        if not documents.is_json(answer.headers):
            page = (answer.body, answer.headers, names)
            return await asyncio.to_thread(documents.from_page, *page)
        try:
            return documents.from_json(answer.body, names)
        except ValueError as error:
            raise refused(CLIENT_REFUSED, f"the document at client_id {error}") from error

    def unreachable(self, found: Web, before: Client | None) -> Client:
        """Nothing is known of it, but one that was held to a list is not let off by an outage.

        Else whoever can bring its page down may send codes anywhere within its origin.
        """
        client = self.described(found, None)
        if before is None or not before.strict:
            return client
        own = tuple(uri for uri in before.redirect_uris if is_own(uri, found))
        return replace(client, redirect_uris=own, strict=True)

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
        try:
            answer = await self.got(url, "image/*") if url else None
        except FetchBusy:
            return None
        if answer is None or answer.status != 200 or len(answer.body) > LOGO_LIMIT:  # noqa: PLR2004
            return None
        body = answer.body
        media = next((kind for first, kind in PICTURES.items() if body.startswith(first)), None)
        return media and f"data:{media};base64,{base64.b64encode(body).decode()}"

    async def got(self, url: str, accept: str) -> Answer | None:
        """A page, or None where it cannot be had: that is no error (IndieAuth, section 4.2).

        Raises FetchBusy where nobody was asked, since strangers choose whom: that nothing came
        then says nothing of the client, and least of all that it published no list.
        """
        if self.hosts.wait(url):
            raise FetchBusy("its host was asked too often")
        try:
            async with self.turns.one():
                return await self.fetcher.get(url, headers={"accept": accept})
        except FetchBusy:
            raise
        except (FetchFailed, FetchRefused):
            return None


def is_own(redirect_uri: str, client: Web) -> bool:
    """Whether a redirect URL that is one stays within the client's origin."""
    to = urls.redirect(redirect_uri)
    return to is not None and to.origin == client.origin


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
