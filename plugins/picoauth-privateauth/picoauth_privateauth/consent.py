"""The user decides: what is asked is shown, and an answer becomes a way back to the client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from picoauth import Auth, AuthError, Caller, Reply, Request, Statement, problems
from picoauth_privateauth.asked import Asked, Returning
from picoauth_privateauth.clients import Clients
from picoauth_privateauth.codes import Code, Codes
from picoauth_privateauth.events import AuthorizationApproved, AuthorizationDenied
from picoauth_privateauth.permissions import Rights
from picoauth_privateauth.problems import NO_PROFILE, PERMISSION_MISSING
from picoauth_privateauth.profiles import Person, Profiles
from picoauth_privateauth.requests import Requests, Waiting
from picoauth_privateauth.tokens import joined

GRANT = """
    insert into privateauth_grants
        (id, user_id, client_id, name, scope, created_at, approved_at) values (?, ?, ?, ?, ?, ?, ?)
        on conflict (user_id, client_id) do update set
            name = excluded.name, scope = excluded.scope, approved_at = excluded.approved_at
"""


class Consent:
    """What a page needs, whoever made it; each method acts for one user, who is logged in."""

    def __init__(
        self,
        auth: Auth,
        *,
        requests: Requests,
        codes: Codes,
        profiles: Profiles,
        rights: Rights,
        clients: Clients,
        issuer: str,
    ) -> None:
        self.auth = auth
        self.requests = requests
        self.codes = codes
        self.profiles = profiles
        self.rights = rights
        self.clients = clients
        self.issuer = issuer

    async def show(self, request: Request) -> Reply:
        """What a client asks for. From now on this user alone may decide it."""
        return Reply(await self.shown(request.path["id"], request.access.user_id))

    async def approve(self, request: Request) -> Reply:
        """Let the client know who the user is. Answers where to send the browser."""
        body, user_id = request.body, request.access.user_id
        to = await self.approved(request.path["id"], user_id, body.scopes, body.me, request.caller)
        return Reply({"redirect_to": to})

    async def deny(self, request: Request) -> Reply:
        """Send the client away. Answers where to send the browser."""
        to = await self.denied(request.path["id"], request.access.user_id, request.caller)
        return Reply({"redirect_to": to})

    async def shown(self, secret: str, user_id: str) -> dict[str, Any]:
        waiting = await self.requests.open(secret, user_id)
        person, asked = await self.profiles.require(user_id), waiting.asked
        registered = self.clients.registered.get(asked.client_id)
        return {
            "id": waiting.id,
            "expires_at": waiting.expires_at,
            "client": {**asked.client, "logo_uri": self.clients.logo(asked.client_id)},
            "redirect_uri": asked.redirect_uri,
            "scopes": list(asked.scopes),
            "me_hint": asked.me_hint,
            "profiles": list(hinted(person.profiles, asked.me_hint)),
            "pkce": asked.challenge is not None,
            "flow": asked.flow,
            "permitted": await self.rights.admits(asked.client_id, user_id),
            "required_permission": registered.required_permission if registered else None,
            "tells": self.rights.tells(asked.client_id),
        }

    async def approved(
        self,
        secret: str,
        user_id: str,
        scopes: Sequence[str] | None,
        me: str | None,
        caller: Caller,
    ) -> str:
        """Decide for it: the code, and the grant that it is part of, in one write."""
        waiting = await self.requests.look(secret, user_id)
        person, asked = await self.profiles.require(user_id), waiting.asked
        if not await self.rights.admits(asked.client_id, user_id):
            raise AuthError(PERMISSION_MISSING)
        granted = chosen_scopes(asked, scopes)
        code = Code(
            client_id=asked.client_id,
            redirect_uri=asked.redirect_uri,
            challenge=asked.challenge,
            scopes=granted,
            profile=chosen_profile(person, me, asked.me_hint),
        )
        secret, issuing = self.codes.issuing(code, user_id)
        event = AuthorizationApproved(
            at=self.auth.now(),
            user_id=user_id,
            client_id=asked.client_id,
            scopes=granted,
            caller=caller,
        )
        granting = self.granting(asked, user_id, granted)
        await self.requests.decide(waiting, user_id, event, [granting, issuing])
        return self.back(waiting).location(code=secret)

    def granting(self, asked: Asked, user_id: str, scopes: Sequence[str]) -> Statement:
        now, name = self.auth.now(), asked.client["name"] or asked.client_id
        args = (self.auth.users.new_id(), user_id, asked.client_id, name, joined(scopes), now, now)
        return Statement(GRANT, args, rows=1)

    async def denied(self, secret: str, user_id: str, caller: Caller) -> str:
        waiting = await self.requests.look(secret, user_id)
        event = AuthorizationDenied(
            at=self.auth.now(),
            user_id=user_id,
            client_id=waiting.asked.client_id,
            caller=caller,
        )
        await self.requests.decide(waiting, user_id, event)
        description = "The user said no."
        return self.back(waiting).location(error="access_denied", error_description=description)

    def back(self, waiting: Waiting) -> Returning:
        return Returning(waiting.asked.redirect_uri, waiting.asked.state, self.issuer)


def chosen_scopes(asked: Asked, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """None that was not asked for. Raises AuthError."""
    if wanted is None:
        return asked.scopes
    if set(wanted) - set(asked.scopes):
        raise AuthError(problems.INVALID_BODY, "scopes has what was not asked for")
    kept = tuple(scope for scope in asked.scopes if scope in wanted)
    return tuple(scope for scope in kept if scope != "email" or "profile" in kept)


def hinted(profiles: Sequence[str], hint: str | None) -> Sequence[str]:
    """The one that the client supposes first, if it is the user's."""
    return sorted(profiles, key=lambda url: url != hint)


def chosen_profile(person: Person, wanted: str | None, hint: str | None) -> str | None:
    """One of the user's own URLs, or None for the given one. Raises AuthError for any other."""
    first = hinted(person.profiles, hint)
    if not first:
        raise AuthError(NO_PROFILE)
    url = first[0] if wanted is None else wanted
    if url not in person.profiles:
        raise AuthError(problems.INVALID_BODY, "me is no profile URL of this user")
    return None if url == person.given else url
