"""The factor `indieauth`: who an endpoint says that somebody is, as a first factor like any other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from picoauth import (
    Attemptee,
    AuthError,
    Caller,
    Challenge,
    Denied,
    Factor,
    Payload,
    Problem,
    Proof,
    Situation,
    User,
    Whose,
    text_of,
)
from picoauth_indieauth_login.accounts import FACTOR
from picoauth_indieauth_login.client import Asked, Identity
from picoauth_indieauth_login.events import UnknownPermissionSeen
from picoauth_indieauth_login.permissions import permitted, unknown
from picoauth_indieauth_login.problems import (
    PERMISSION_REQUIRED,
    PROFILE_UNUSABLE,
    UNKNOWN_ENDPOINT,
)
from picoauth_indieauth_login.profiles import candidates

if TYPE_CHECKING:
    from picoauth_indieauth_login.plugin import IndieAuthLoginPlugin


class IndieAuthFactor(Factor):
    """What was asked stays with the flow: an answer that another browser brings proves nothing."""

    name: ClassVar[str] = FACTOR
    starts: ClassVar[bool] = True
    problems: ClassVar[Sequence[Problem]] = (
        PROFILE_UNUSABLE,
        UNKNOWN_ENDPOINT,
        PERMISSION_REQUIRED,
    )

    def __init__(self, plugin: IndieAuthLoginPlugin) -> None:
        self.plugin = plugin
        self.auth = plugin.auth
        self.client = plugin.client
        self.accounts = plugin.accounts
        self.settings = plugin.settings

    async def identify(self, payload: Payload) -> Attemptee:
        """By the domain where a login begins, so that for each there are only so many.

        An answer is nobody's until its code is redeemed; there is nothing in it to guess.
        """
        if FACTOR in payload or "endpoint" in payload:
            return Attemptee(user=None)
        url = candidates(text_of(payload, "me"), http=self.settings.http_profiles)[0]
        return Attemptee(name=Whose.identified("url", url), typed=url)

    async def begin(self, situation: Situation, payload: Payload) -> Challenge:  # noqa: ARG002
        """Say where to send the browser. Whose domain it is, and whether anybody's, is not looked at."""
        asked, location = await self.plugin.ask(payload)
        return Challenge({"url": location}, asked.dump())

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        """Redeem the code that a browser brought to the flow that it set out from."""
        brought = text_of(payload, FACTOR, "what stood behind # or ? when the browser came back")
        identity = await self.client.identity(Asked.load(situation.state), brought)
        found = await self.accounts.owner(identity)
        if found is None:
            user = await self.newcomer(situation, identity)
            found = await self.accounts.owner(identity) if user is None else (user, "")
        if found is None or found[0].disabled_at is not None:
            raise Denied(self.refused)
        self.check_permitted(identity)
        return self.proof(identity, *found, situation.caller)

    async def newcomer(self, situation: Situation, identity: Identity) -> User | None:
        """An account for somebody who has none, where the settings have it so. Raises Denied."""
        if situation.user is not None or not self.welcome(identity):
            raise Denied(self.refused)
        self.check_permitted(identity)
        return await self.accounts.register(identity, situation.caller)

    def welcome(self, identity: Identity) -> bool:
        if identity.trusted is not None:
            return identity.trusted.register
        mode = self.settings.registration
        return mode == "open" or (mode == "listed" and identity.name in self.plugin.listed)

    def check_permitted(self, identity: Identity) -> None:
        """Said to whoever is known to the endpoint and to this server, and to nobody else."""
        if not permitted(identity):
            raise AuthError(PERMISSION_REQUIRED)

    def proof(self, identity: Identity, user: User, enrolment_id: str, caller: Caller) -> Proof:
        """With what the endpoint told of permissions, which counts when the login does."""
        seen = [
            UnknownPermissionSeen(
                at=self.auth.now(),
                user_id=user.id,
                endpoint=identity.trusted.name,
                permission=permission,
                caller=caller,
            )
            for permission in unknown(identity)
            if identity.trusted is not None
        ]
        return Proof(
            user=user,
            amr=(FACTOR,),
            enrolment_id=enrolment_id or None,
            statements=[self.accounts.telling(enrolment_id, identity)] if enrolment_id else (),
            events=seen,
        )
