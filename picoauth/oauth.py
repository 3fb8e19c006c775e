"""Asking about a token, and giving one up (RFC 7662, RFC 7009): tokens of the kernel alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from picoauth import replies
from picoauth.errors import AuthError, Denied
from picoauth.problems import INVALID_BODY
from picoauth.routes import FORM, Handler, Reply, Request, Route
from picoauth.sessions import Session
from picoauth.tokens import Access, Refresh

if TYPE_CHECKING:
    from picoauth.auth import Auth


def routes(auth: Auth) -> Sequence[Route]:
    oauth = OAuth(auth)

    def route(path: str, handler: Handler, policy: str, answer: type | None) -> Route:
        return Route(
            method="POST",
            path=path,
            handler=handler,
            policy=policy,
            body=dict,
            known=replies.Token,
            accepts=(FORM,),
            answer=answer,
            errors="oauth",
        )

    return [
        route("/oauth/introspect", oauth.introspect, "resource_server", replies.Introspection),
        route("/oauth/revoke", oauth.revoke, "public", None),
    ]


class OAuth:
    """Answers about tokens by what the database says now, not by the token alone."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth

    async def introspect(self, request: Request) -> Reply:
        """Whether a token is good, and what it says; of one that is not, nothing is told."""
        token = self.opened(sent(request))
        if token is None or not await self.good(token):
            return Reply({"active": False})
        return Reply({**self.members(token), "active": True})

    async def revoke(self, request: Request) -> Reply:
        """End the session of a token. Whoever has one may give it up; of no use is no error."""
        token = self.opened(sent(request))
        if token is not None:
            with suppress(AuthError):  # it has ended already
                await self.auth.accounts.logout(token.user_id, token.session_id, request.caller)
        return Reply()

    def opened(self, token: str) -> Access | Refresh | None:
        """A token that was signed here and has not expired. What kind it is, it says itself."""
        for check in (self.auth.tokens.check, self.auth.tokens.check_refresh):
            with suppress(Denied):
                return check(token)
        return None

    async def good(self, token: Access | Refresh) -> bool:
        """Whether its session and its user are there now; a refresh token is not yet spent."""
        session = await self.auth.sessions.get(token.session_id)
        user = await self.auth.users.get(token.user_id)
        if session is None or user is None or user.barred:
            return False
        return session.alive(self.auth.now()) and self.unspent(token, session)

    def unspent(self, token: Access | Refresh, session: Session) -> bool:
        rotating = self.auth.config.tokens.refresh == "rotating"
        if isinstance(token, Refresh) and rotating:
            return self.auth.rotation.current(session, token.generation)
        return True

    def members(self, token: Access | Refresh) -> Mapping[str, Any]:
        """What is said of a good token (RFC 7662, section 2.2)."""
        if isinstance(token, Access):
            name = token.claims.get("preferred_username")
            known = {"username": name} if name else {}
            return {**token.claims, **known, "token_type": "Bearer"}
        whose = {"sub": token.user_id, "sid": token.session_id}
        return {"iss": self.auth.config.public_url, **whose, "exp": token.expires_at}


def sent(request: Request) -> str:
    token = request.body.get("token")
    if not token:
        raise AuthError(INVALID_BODY, "token is missing")
    return str(token)
