"""From a profile URL to its authorization endpoint (IndieAuth, section 4.1)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urljoin

from picoauth import Unavailable
from picoauth_fetch import Answer, FetchBusy, FetchFailed, FetchRefused, web
from picoauth_fetch.html import read
from picoauth_fetch.links import page_links
from picoauth_fetch.turns import Turns
from picoauth_indieauth_login.profiles import candidates, known, unusable

METADATA, LEGACY = "indieauth-metadata", "authorization_endpoint"
OK = range(200, 300)
AT_ONCE = 16
"""Fetches at strangers' hosts at one time, so that nobody makes this server a hammer."""
UNREACHABLE = "its page cannot be reached"


class Fetches(Protocol):
    """What a fetcher does."""

    async def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> Answer: ...

    async def post(
        self, url: str, body: bytes, *, headers: Mapping[str, str] | None = None
    ) -> Answer: ...


@dataclass(frozen=True)
class Found:
    """Where a profile's owner logs in, and by which URLs the way there led."""

    endpoint: str
    issuer: str | None
    """None where only the older relation is there, which names none."""
    seen: tuple[str, ...]
    """Profile URLs that may be answered without another look (section 5.4)."""


class InTurn:
    """A fetcher of which so many fetches run at once, and no one waits for ever."""

    def __init__(self, fetcher: Fetches, seconds: float) -> None:
        self.fetcher = fetcher
        self.turns = Turns(AT_ONCE, seconds)

    async def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> Answer:
        async with self.turns.one():
            return await self.fetcher.get(url, headers=headers)

    async def post(
        self, url: str, body: bytes, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        async with self.turns.one():
            return await self.fetcher.post(url, body, headers=headers)


class Discovery:
    """Looks at pages of strangers. Nothing in them is believed but what they say of themselves."""

    def __init__(self, fetcher: Fetches, *, http: bool) -> None:
        self.fetcher = fetcher
        self.http = http

    async def discover(self, typed: str) -> tuple[str, Found]:
        """The profile URL that was meant, and what is there. Raises AuthError and Unavailable."""
        refusal = unusable(UNREACHABLE)
        for url in candidates(typed, http=self.http):
            page = await self.page(url)
            if page is not None:
                return url, await self.endpoint(url, page)
        raise refusal

    async def page(self, url: str) -> Answer | None:
        """The page, its redirects followed; None where there is none."""
        try:
            answer = await self.got(url, "text/html")
        except (FetchFailed, FetchRefused):
            return None
        return answer if answer.status in OK else None

    async def got(self, url: str, accept: str) -> Answer:
        """Raises Unavailable where this server is busy: that says nothing of the page."""
        try:
            return await self.fetcher.get(url, headers={"Accept": accept})
        except FetchBusy as error:
            raise Unavailable("too many pages of others are looked at") from error

    async def endpoint(self, url: str, page: Answer) -> Found:
        """Metadata first. Where that is spoilt, the older relation does not stand in for it.

        Else whoever can spoil it gets rid of the issuer.
        """
        seen = known([url, *(step for _, step in page.redirects)])
        # In a thread: whoever has a page decides how long it takes to read.
        links = await asyncio.to_thread(linked, page)
        metadata = resolved(page.url, links[METADATA])
        if metadata is not None:
            endpoint, issuer = await self.described(metadata)
            return Found(endpoint, issuer, seen)
        legacy = resolved(page.url, links[LEGACY])
        if legacy is None:
            raise unusable("its page names no authorization endpoint")
        return Found(self.checked(legacy), None, seen)

    async def described(self, url: str) -> tuple[str, str]:
        """Endpoint and issuer, as the metadata says (section 4.1.1)."""
        try:
            answer = await self.got(url, "application/json")
        except (FetchFailed, FetchRefused) as error:
            raise unusable("the metadata of its endpoint cannot be reached") from error
        members = document(answer) if answer.status in OK else {}
        issuer, endpoint = members.get("issuer"), members.get("authorization_endpoint")
        if not isinstance(issuer, str) or not isinstance(endpoint, str):
            raise unusable("the metadata of its endpoint names no issuer and endpoint")
        check_issuer(issuer, url)
        return self.checked(str(resolved(answer.url, [endpoint]))), issuer

    def checked(self, endpoint: str) -> str:
        try:
            found = web.web(endpoint)
        except ValueError as error:
            raise unusable(f"its endpoint {error}") from error
        if found.scheme != "https" and not self.http:
            raise unusable("its endpoint is without https")
        return endpoint


def check_issuer(issuer: str, metadata: str) -> None:
    """Of https, without query and fragment, and a prefix of the metadata's URL (RFC 9207).

    Of the same host, too: `https://auth.example` is a prefix of `https://auth.example.net/`.
    Raises AuthError.
    """
    try:
        named, where = web.web(issuer), web.web(metadata)
    except ValueError as error:
        raise unusable("its issuer is no URL") from error
    fits = named.scheme == "https" and "?" not in issuer and named.origin == where.origin
    if not fits or not metadata.startswith(issuer):
        raise unusable("its issuer is not the one whose metadata this is")


def linked(page: Answer) -> Mapping[str, list[str]]:
    """Targets by relation: those of the header, then those of `<link>`.

    No other element counts: who may comment on a page can write an `<a rel>`.
    """
    media = page.headers.get("content-type", "").partition(";")[0].strip().lower()
    html = media in ("text/html", "application/xhtml+xml", "")
    found = read(page.body.decode("utf-8", "replace") if html else "")
    return {rel: page_links(found, page.headers, rel) for rel in (METADATA, LEGACY)}


def resolved(base: str, found: Sequence[str]) -> str | None:
    """The first target, relative to where the page came from."""
    try:
        return urljoin(base, found[0]) if found else None
    except ValueError as error:
        raise unusable("its endpoint is no URL") from error


def document(answer: Answer) -> Mapping[str, Any]:
    """The object that a JSON answer is; empty for what is none."""
    try:
        members = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return members if isinstance(members, dict) else {}
