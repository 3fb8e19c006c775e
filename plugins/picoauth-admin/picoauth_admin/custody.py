"""What a user has: sessions and factors, and the ways back for who lost them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from picoauth import (
    Administrator,
    Auth,
    AuthError,
    Caller,
    ConfigError,
    Identifier,
    Reply,
    Request,
    Route,
    User,
    replies,
    shown,
)
from picoauth_admin.invitations import (
    LOCAL_ONLY,
    NOT_VERIFIED,
    REFUSALS,
    USER_DISABLED,
    Invitation,
    Invitations,
)
from picoauth_admin.routes import ONE, Routes
from picoauth_admin.shapes import Invited, Inviting, Sent


@runtime_checkable
class Resets(Protocol):
    """What sends links for a new password: the plugin reset, or another one in its place."""

    async def start_reset(self, user: User, caller: Caller) -> Identifier | None:
        """Send a link; answers the address, or None where none is verified, or the user disabled."""


def resets_of(auth: Auth) -> Resets | None:
    """The plugin that resets passwords, if one is listed."""
    try:
        return auth.plugin(Resets)  # type: ignore[type-abstract]
    except ConfigError:
        return None


async def reset(auth: Auth, resets: Resets, user_id: str, caller: Caller) -> Identifier:
    """Start one. Raises AuthError (404, 409). Nobody but the user sees or sets a password (R-5)."""
    user = await auth.users.require(user_id)
    sent = await resets.start_reset(user, caller)
    if sent is None:
        raise AuthError(NOT_VERIFIED if user.disabled_at is None else USER_DISABLED)
    return sent


class CustodyRoutes:
    """The routes below one user."""

    def __init__(self, auth: Auth, invitations: Invitations) -> None:
        self.auth = auth
        self.invitations = invitations

    def declared(self, routes: Routes) -> Sequence[Route]:
        one, gone = routes.one, {"status": 204}
        return [
            routes.get(f"{ONE}/sessions", self.sessions, replies.Sessions),
            one("DELETE", "/sessions", self.end_all, **gone),
            one("DELETE", "/sessions/{session}", self.end, **gone),
            routes.get(f"{ONE}/factors", self.factors, replies.Factors),
            one("DELETE", "/factors/{factor}", self.remove, **gone),
            one(
                "POST",
                "/invitation",
                self.invite,
                body=Inviting,
                status=202,
                also=(201,),
                answer=Invited,
                problems=REFUSALS,
                example={"link": False},
            ),
            *self.resetting(routes),
        ]

    def resetting(self, routes: Routes) -> Sequence[Route]:
        """Only where something resets passwords."""
        if resets_of(self.auth) is None:
            return []
        return [
            routes.one(
                "POST",
                "/reset",
                self.reset,
                status=202,
                answer=Sent,
                problems=(NOT_VERIFIED, USER_DISABLED),
            )
        ]

    async def sessions(self, request: Request) -> Reply:
        """A user's sessions, each with what was made of it on other hosts."""
        user = await self.auth.users.require(request.path["id"])
        found = await self.auth.sessions.list(user.id)
        return Reply({"sessions": shown.sessions(found)})

    async def end_all(self, request: Request) -> Reply:
        """End every session of a user."""
        await self.auth.accounts.logout_from_all(request.path["id"], request.caller)
        return Reply(status=204)

    async def end(self, request: Request) -> Reply:
        """End one session of a user."""
        path = request.path
        await self.auth.accounts.logout(path["id"], path["session"], request.caller)
        return Reply(status=204)

    async def factors(self, request: Request) -> Reply:
        """What a user has enrolled, without what proves it."""
        user = await self.auth.users.require(request.path["id"])
        found = await self.auth.users.enrolments(user.id)
        return Reply({"factors": [shown.factor(one) for one in found]})

    async def remove(self, request: Request) -> Reply:
        """Take a factor from a user who lost it: every session ends. The last one may go, too."""
        path = request.path
        await self.auth.credentials.withdraw_factor(path["id"], path["factor"], request.caller)
        return Reply(status=204)

    async def reset(self, request: Request) -> Reply:
        """Send the user a link for a new password, to a verified address."""
        resets = self.auth.plugin(Resets)  # type: ignore[type-abstract]
        sent = await reset(self.auth, resets, request.path["id"], request.caller)
        return Reply({"address": sent.display}, 202)

    async def invite(self, request: Request) -> Reply:
        """Send the user a link to log in by once, and then to set a password or enrol a passkey."""
        user = await self.auth.users.require(request.path["id"])
        if not request.body.link:
            return invited(await self.invitations.mail(user, request.caller))
        if request.principal != Administrator("socket"):
            raise AuthError(LOCAL_ONLY)
        return invited(await self.invitations.show(user, request.caller))


def invited(made: Invitation) -> Reply:
    """The link is told only where nobody was mailed it."""
    mailed = made.address is not None
    body = {
        "address": made.address.display if made.address else None,
        "link": None if mailed else made.link,
        "expires_at": made.expires_at,
    }
    return Reply(body, 202 if mailed else 201)
