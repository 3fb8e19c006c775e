"""What a client is handed for a session: an access and a refresh token, with plugins' claims."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from picoauth.callers import Caller
from picoauth.errors import Denied
from picoauth.problems import SESSION_ENDED
from picoauth.prolonging import login_of
from picoauth.sessions import Session
from picoauth.tokens import RESERVED
from picoauth.users import User

if TYPE_CHECKING:
    from picoauth.auth import Auth


class Grants:
    """Answers tokens, as RFC 6749, section 5.1 writes them."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth

    async def access(self, user: User, session: Session) -> dict[str, Any]:
        """A new access token of a session, or what its cookie stands for."""
        claims = await self.claims(user, session)
        return self.bearer(claims) if session.delivery == "token" else shown(session, claims)

    async def session(self, user: User, session: Session) -> dict[str, Any]:
        """Access and refresh token of a session, or what its cookie stands for."""
        return await self.login(user, await self.auth.users.username(user.id), session)

    async def login(self, user: User, username: str | None, session: Session) -> dict[str, Any]:
        """The same, where the user name was looked up with the user."""
        claims = await self.named(user, username, session)
        return self.both(session, claims) if session.delivery == "token" else shown(session, claims)

    async def refresh(self, token: str, caller: Caller) -> dict[str, Any]:
        """New tokens for a refresh token. Raises Denied.

        Plugins are asked for their claims before the token is spent: one that fails costs
        nobody the session. Nothing is waited for between the rotation and the signature.
        """
        refresh = self.auth.tokens.check_refresh(token)
        self.auth.revocations.check(refresh.session_id)
        if self.auth.config.tokens.refresh == "stateless":
            return {**self.bearer(refresh.claims), "refresh_token": token}
        # A database elsewhere is asked for all of it at once.
        user, username, session = await asyncio.gather(
            self.auth.users.get(refresh.user_id),
            self.auth.users.username(refresh.user_id),
            self.auth.credentials.session(refresh.session_id),
        )
        if user is None or user.barred:
            raise Denied(SESSION_ENDED)
        claims = await self.named(user, username, session)
        await login_of(self.auth, session)
        rotate = self.auth.rotation.rotate(refresh.session_id, refresh.generation, caller)
        return self.both(await rotate, claims)

    def both(self, session: Session, claims: Mapping[str, Any]) -> dict[str, Any]:
        refresh = self.auth.tokens.refresh(session, claims)
        return {**self.bearer(claims), "refresh_token": refresh}

    def bearer(self, claims: Mapping[str, Any]) -> dict[str, Any]:
        life = self.auth.config.tokens.access_life
        token = self.auth.tokens.access(claims)
        return {"access_token": token, "token_type": "Bearer", "expires_in": life}

    async def claims(self, user: User, session: Session) -> dict[str, Any]:
        """The kernel's claims and those of plugins. Raises Denied for a name used twice."""
        return await self.named(user, await self.auth.users.username(user.id), session)

    async def named(self, user: User, username: str | None, session: Session) -> dict[str, Any]:
        """The same, where the user name is known."""
        claims = self.auth.tokens.claims(user, username, session)
        plugins = self.auth.plugins
        for name, function in plugins.implementations("claims"):
            added = await plugins.answer(name, "claims", function, user=user, session=session)
            for claim in added.keys() & (claims.keys() | RESERVED):
                raise plugins.fault(name, f"adds the claim {claim}, which is taken")
            claims |= added
        return claims


def shown(session: Session, claims: Mapping[str, Any]) -> dict[str, Any]:
    """What a browser's page learns of a session that is kept in a cookie."""
    return {**claims, "exp": min(session.idle_at, session.expires_at)}
