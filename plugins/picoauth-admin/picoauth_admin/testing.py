"""Invitations and administrators of a test, for the matrices and contracts of picoauth's test kit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from picoauth import Caller, Payload, User
from picoauth.testing import Ceremony, Headers, Joining, Principal, Server, Someone
from picoauth_admin.guard import ADMIN, Permissions, permissions_of
from picoauth_admin.invitations import FACTOR
from picoauth_admin.keys import DAY, Scope
from picoauth_admin.plugin import AdminPlugin

LET_IN = "let in"


class InvitationCeremony(Ceremony):
    """To each user an invitation, whenever one is needed. The mail is left out."""

    async def enrol(self, someone: Someone) -> None:
        """Everybody has it whom an administrator invites; who is disabled later had one before."""
        someone.notes[FACTOR] = await self.invited(someone.user)

    async def answer(self, someone: Someone, _: Mapping[str, Any]) -> Payload:
        user = await self.server.auth.users.get(someone.user.id)
        if user is not None and user.disabled_at is None:
            someone.notes[FACTOR] = await self.invited(user)
        return {FACTOR: someone.notes[FACTOR]}

    async def invited(self, user: User) -> str:
        made = await self.server.auth.plugin(AdminPlugin).invitations.show(user, Caller())
        return made.link.partition("=")[2]

    async def wrong(self, someone: Someone, _: Mapping[str, Any]) -> Payload:
        """One that was never made."""
        return {FACTOR: f"no invitation of {someone.username}"}


async def key(someone: Someone, scope: Scope, *, days: int = 1) -> Headers:
    keys = someone.server.auth.plugin(AdminPlugin).keys
    return bearer(await keys.create(f"{scope}-{someone.username}", scope, days, Caller()))


async def reading_key(someone: Someone) -> Headers:
    """An admin key that may read."""
    return await key(someone, "read")


async def full_key(someone: Someone) -> Headers:
    """An admin key that may do everything."""
    return await key(someone, "full")


async def expired_key(someone: Someone) -> Headers:
    """An admin key a second too late."""
    with someone.server.clock.ago(DAY + 1):
        return await key(someone, "full")


async def administrator(someone: Someone) -> Headers:
    """An administrator, whose second factor was proven just now."""
    await someone.enrol(second_factor(someone.server))
    return await unprotected(someone)


async def unprotected(someone: Someone) -> Headers:
    """An administrator without a second factor."""
    await grant(someone)
    return bearer((await someone.login())["access_token"])


async def absent(someone: Someone) -> Headers:
    """An administrator, whose second factor was proven too long ago."""
    server = someone.server
    with server.clock.ago(server.auth.config.logins.fresh_for + 1):
        return await administrator(someone)


async def retired(someone: Someone) -> Headers:
    """An administrator who is none any more, though the token is good."""
    headers = await administrator(someone)
    permissions = await grant(await someone.server.join())
    await permissions.revoke(someone.user.id, ADMIN, Caller())
    return headers


async def grant(someone: Someone) -> Permissions:
    """Make somebody an administrator."""
    permissions = someone.server.auth.plugin(Permissions)  # type: ignore[type-abstract]
    await permissions.grant(someone.user.id, ADMIN, Caller())
    return permissions


def second_factor(server: Server) -> str:
    """The first that has to be proven by who has it, and that test users can prove."""
    for name, factor in server.auth.factors.items():
        if factor.second and not factor.fallback and server.ceremonies.find(name):
            return name
    return ""


def access(server: Server) -> Joining:
    """Keys; and administrators, where somebody knows of permissions, and has a second factor."""
    keys: dict[str, Principal] = {
        "reading admin key": reading_key,
        "full admin key": full_key,
        "expired admin key": expired_key,
    }
    people: dict[str, Principal] = {
        "administrator": administrator,
        "administrator without second factor": unprotected,
        "absent administrator": absent,
        "retired administrator": retired,
    }
    possible = permissions_of(server.auth) is not None and second_factor(server)
    here = people if possible else {}
    return Joining(
        principals={**keys, **here},
        policies={
            "admin": {
                "nobody": "401 token_missing",
                "*": "403 forbidden",
                "disabled": "401 session_ended",
                "half logged in": "401 invalid_token",
                "refresh token": "401 invalid_token",
                "expired token": "401 token_expired",
                "resource server": "401 invalid_token",
                "reading admin key": "403 read_only",
                "full admin key": LET_IN,
                "expired admin key": "401 invalid_token",
                "administrator": LET_IN,
                "administrator without second factor": "403 second_factor_needed",
                "absent administrator": "403 stepup_needed",
            },
            "admin GET": {"reading admin key": LET_IN},
            "session": {**dict.fromkeys(keys, "401 invalid_token"), **dict.fromkeys(here, LET_IN)},
            "fresh": {
                **dict.fromkeys(keys, "401 invalid_token"),
                **dict.fromkeys(here, LET_IN),
                **({"absent administrator": "403 stepup_needed"} if here else {}),
            },
        },
    )


def bearer(token: str) -> Headers:
    return {"Authorization": f"Bearer {token}"}
