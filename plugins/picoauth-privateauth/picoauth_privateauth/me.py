"""A user's own side of it: names, a picture, and profile URLs."""

from __future__ import annotations

from typing import Any

from picoauth import Auth, AuthError, Reply, Request
from picoauth_fetch import web as urls
from picoauth_privateauth.problems import PROFILE_REFUSED
from picoauth_privateauth.profiles import Person, Profiles


class Me:
    """Shows and changes what clients may get to know of a user."""

    def __init__(self, auth: Auth, profiles: Profiles) -> None:
        self.auth = auth
        self.profiles = profiles

    async def show(self, request: Request) -> Reply:
        """What clients may get to know of the user."""
        return Reply(shown(await self.profiles.require(request.access.user_id)))

    async def replace(self, request: Request) -> Reply:
        """Change it. A new profile URL needs a fresh proof of the user, and one of the page."""
        body, user_id = request.body, request.access.user_id
        person = await self.profiles.require(user_id)
        if set(body.urls) - set(person.profiles):
            await self.auth.require_fresh(request.access)
        photo = None if body.photo is None else picture(body.photo)
        await self.profiles.replace(person, body.urls, request.caller)
        await self.profiles.describe(user_id, body.shortName, photo)
        return Reply(shown(await self.profiles.require(user_id)))


def picture(text: str) -> str:
    try:
        return str(urls.web(text))
    except ValueError as error:
        raise AuthError(PROFILE_REFUSED, f"photo {error}") from error


def shown(person: Person) -> dict[str, Any]:
    return {
        "username": person.username,
        "name": person.user.name or None,
        "shortName": person.short_name,
        "photo": person.photo,
        "given": person.given,
        "urls": list(person.own),
    }
