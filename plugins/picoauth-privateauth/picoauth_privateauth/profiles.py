"""Profile URLs: the one that the endpoint gives each user, and those that users proved theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from picoauth import Auth, AuthError, Caller, Conflict, Statement, User, problems
from picoauth_fetch import Answer, FetchBusy, Fetcher, FetchFailed, FetchRefused
from picoauth_fetch import web as urls
from picoauth_fetch.hosts import Hosts
from picoauth_fetch.html import Page, read
from picoauth_fetch.links import page_links
from picoauth_fetch.turns import Turns
from picoauth_privateauth.clients import RETRY
from picoauth_privateauth.events import ProfileAdded, ProfileRemoved
from picoauth_privateauth.problems import PROFILE_REFUSED, PROFILE_TAKEN

MOST = 10
"""Profile URLs of one's own."""
OK = range(200, 300)
HTML = ("text/html", "application/xhtml+xml", "")
HOPS = 5
"""Redirects that lead to a profile page, at most (IndieAuth, section 4.1)."""
OWN = "select url from privateauth_profiles where user_id = ? order by added_at, url"
ADD = """
    insert into privateauth_profiles (url, user_id, added_at)
    select ?, ?, ? where (select count(*) from privateauth_profiles where user_id = ?) < ?
"""
REMOVE = "delete from privateauth_profiles where url = ? and user_id = ?"
# Tokens that say of a user what is no longer so.
REVOKE = """
    delete from privateauth_families where profile = ?
       and grant_id in (select id from privateauth_grants where user_id = ?)
"""
PERSON = "select short_name, photo from privateauth_people where user_id = ?"
DESCRIBE = """
    insert into privateauth_people (user_id, short_name, photo) values (?, ?, ?)
        on conflict (user_id) do update set short_name = excluded.short_name,
            photo = excluded.photo
"""


@dataclass(frozen=True)
class Person:
    """A user, as clients may get to know her."""

    user: User
    username: str | None
    """In the form in which user names are compared, which nobody shares."""
    own: tuple[str, ...]
    given: str | None
    short_name: str | None = None
    photo: str | None = None
    email: str | None = None

    @property
    def profiles(self) -> tuple[str, ...]:
        return (*([self.given] if self.given else []), *self.own)

    def me(self, profile: str | None) -> str | None:
        """The URL of a grant: one of her own, or without one that which the endpoint gives."""
        if profile is None:
            return self.given
        return profile if profile in self.own else None


class Profiles:
    """Knows people, and adds and removes their URLs."""

    def __init__(self, auth: Auth, hosts: Hosts, turns: Turns) -> None:
        self.auth = auth
        self.hosts = hosts
        self.turns = turns
        self.base = auth.config.public_url
        self.fetcher = Fetcher(agent="picoauth-privateauth", redirects=HOPS)

    def given(self, username: str | None) -> str | None:
        """Nobody else ever gets a user name, and so not this URL either."""
        return None if username is None else f"{self.base}/u/{quote(username, safe='')}"

    async def person(self, user_id: str) -> Person | None:
        """None for a user who is gone, closed or disabled (S-6)."""
        user = await self.auth.users.get(user_id)
        if user is None or user.barred:
            return None
        verified: dict[str, Any] = {}
        for one in await self.auth.users.identifiers(user_id):
            if one.verified:
                verified.setdefault(one.kind, one)
        username = verified["username"].value if "username" in verified else None
        described = await self.auth.database.read(PERSON, (user_id,))
        short_name, photo = described[0] if described else (None, None)
        own = [url for (url,) in await self.auth.database.read(OWN, (user_id,))]
        email = verified["email"].display if "email" in verified else None
        return Person(user, username, tuple(own), self.given(username), short_name, photo, email)

    async def require(self, user_id: str) -> Person:
        """Raises AuthError (404)."""
        person = await self.person(user_id)
        if person is None:
            raise AuthError(problems.NOT_FOUND)
        return person

    async def describe(self, user_id: str, short_name: str | None, photo: str | None) -> None:
        await self.auth.database.write(Statement(DESCRIBE, (user_id, short_name, photo)))

    async def replace(self, person: Person, wanted: Sequence[str], caller: Caller) -> None:
        """Have these URLs, and no others. New ones are proven first. Raises AuthError."""
        found = [canonical(text) for text in wanted]
        new = [url for url in dict.fromkeys(found) if url not in person.profiles]
        if len(new) + len(set(found) & set(person.own)) > MOST:
            raise AuthError(PROFILE_REFUSED, f"nobody has more than {MOST} of them")
        for url in new:
            await self.prove(person, url)
        for url in person.own:
            if url not in found:
                await self.remove(person.user.id, url, caller)
        for url in new:
            await self.add(person.user.id, url, caller)

    async def prove(self, person: Person, url: str) -> None:
        """Raises AuthError unless the page names this endpoint, and this user of it.

        The endpoint alone would not do: every user of it could claim the page of every other.
        Only `<link>` and the header count, since who may comment on a page can write an `<a>`.
        """
        answer = await self.got(url)
        if answer.status not in OK:
            raise AuthError(PROFILE_REFUSED, "the page is an error")
        text = answer.body.decode("utf-8", "replace") if is_html(answer) else ""
        page = await asyncio.to_thread(read, text)  # whoever has it decides how long that takes
        ours = {
            "indieauth-metadata": f"{self.base}/.well-known/oauth-authorization-server",
            "authorization_endpoint": f"{self.base}/indieauth/authorize",
        }
        linked = {rel: targets(page, answer, rel) for rel in (*ours, "me")}
        if not any(linked[rel][:1] == [target] for rel, target in ours.items()):
            raise AuthError(PROFILE_REFUSED, "the page does not link to this endpoint")
        if person.given not in linked["me"]:
            raise AuthError(
                PROFILE_REFUSED, 'the page has no <link rel="me"> to the profile URL given here'
            )

    async def got(self, url: str) -> Answer:
        """Raises AuthError, also where this server asks that host, or others, too often already."""
        wait = self.hosts.wait(url)
        if wait:
            raise busy(wait)
        try:
            async with self.turns.one():
                return await self.fetcher.get(url, headers={"accept": "text/html"})
        except FetchBusy as error:
            raise busy(RETRY) from error
        except (FetchFailed, FetchRefused) as error:
            raise AuthError(PROFILE_REFUSED, "the page cannot be reached") from error

    async def add(self, user_id: str, url: str, caller: Caller) -> None:
        """Raises AuthError (409) for a URL that is somebody's."""
        now = self.auth.now()
        event = ProfileAdded(at=now, user_id=user_id, url=url, caller=caller)
        adding = Statement(ADD, (url, user_id, now, user_id, MOST), rows=1)
        try:
            await self.auth.events.commit(event, adding)
        except Conflict as conflict:
            raise AuthError(PROFILE_TAKEN) from conflict

    async def remove(self, user_id: str, url: str, caller: Caller) -> None:
        """Clients that know the user by it have to ask again. Raises AuthError (404)."""
        event = ProfileRemoved(at=self.auth.now(), user_id=user_id, url=url, caller=caller)
        removing = Statement(REMOVE, (url, user_id), rows=1)
        try:
            await self.auth.events.commit(event, removing, Statement(REVOKE, (url, user_id)))
        except Conflict as conflict:
            raise AuthError(problems.NOT_FOUND) from conflict


def busy(seconds: int) -> AuthError:
    return AuthError(problems.UNAVAILABLE, headers={"Retry-After": str(seconds)})


def is_html(answer: Answer) -> bool:
    """Whether browsers read it so: in what is none, whoever may write texts could write links."""
    media = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media in HTML


def targets(page: Page, answer: Answer, rel: str) -> list[str]:
    return urls.resolved(answer.url, page_links(page, answer.headers, rel))


def canonical(text: str) -> str:
    """Raises AuthError for what can be nobody's profile URL."""
    try:
        return str(urls.profile(text))
    except ValueError as error:
        raise AuthError(PROFILE_REFUSED, f"a profile URL {error}") from error


def described(person: Person, scopes: Sequence[str]) -> Mapping[str, Any] | None:
    """What the scopes `profile` and `email` let a client know (IndieAuth, section 5.3.4)."""
    if "profile" not in scopes:
        return None
    known = {
        "name": person.user.name or None,
        "url": next(iter(person.own), person.given),
        "photo": person.photo,
        "email": person.email if "email" in scopes else None,
    }
    return {name: value for name, value in known.items() if value is not None}
