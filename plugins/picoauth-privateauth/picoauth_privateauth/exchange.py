"""Where clients come with what they got: for an identity, for tokens, and with tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from picoauth import AuthError, Reply, Request, Statement
from picoauth_privateauth.codes import Codes, Redeemed
from picoauth_privateauth.permissions import Rights
from picoauth_privateauth.problems import (
    CLIENT_TOKEN_INVALID,
    INSUFFICIENT_SCOPE,
    INVALID_GRANT,
    INVALID_REQUEST,
    UNSUPPORTED_GRANT_TYPE,
    refused,
)
from picoauth_privateauth.profiles import described
from picoauth_privateauth.tokens import ClientTokens, Good, joined

CODE, REFRESH = "authorization_code", "refresh_token"
VERSION = "x-privateauth-version"


class Exchange:
    """Answers JSON, and errors as RFC 6749, section 5.2, and RFC 6750 word them."""

    def __init__(self, codes: Codes, tokens: ClientTokens, rights: Rights) -> None:
        self.codes = codes
        self.tokens = tokens
        self.rights = rights

    async def identity(self, request: Request) -> Reply:
        """Who logged in, for a code; to PrivateAuth clients with what the user may do there."""
        form = request.body
        if form.get("grant_type", CODE) != CODE:
            raise refused(UNSUPPORTED_GRANT_TYPE)
        private = request.headers.get(VERSION, "").strip() == "1"

        def effect(redeemed: Redeemed) -> Sequence[Statement]:
            if private and redeemed.username is None:
                raise refused(INVALID_GRANT, "this user has no user name")
            return ()

        redeemed = await self.codes.redeem(form, effect, request.caller)
        answer = {"me": redeemed.me, **profile(redeemed)}
        return Reply({**answer, **(await self.private(redeemed) if private else {})})

    async def private(self, redeemed: Redeemed) -> Mapping[str, Any]:
        """What PrivateAuth adds; what is not known is left out, but for the permissions.

        Its names are optional: not every client is told them without the scope for the profile.
        """
        person, code = redeemed.person, redeemed.code
        known = "profile" in code.scopes or "name" in self.rights.tells(code.client_id)
        names = {"name": person.user.name or None, "shortName": person.short_name} if known else {}
        return {
            "username": redeemed.username,
            "permissions": await self.rights.told(code.client_id, person.user.id),
            **{name: value for name, value in names.items() if value is not None},
        }

    async def token(self, request: Request) -> Reply:
        """Tokens, for a code or a refresh token."""
        form = request.body
        if form.get("action") == "revoke":  # as it was before 2022
            return await self.revoke(request)
        kind = form.get("grant_type")
        if kind is None:
            raise refused(INVALID_REQUEST, "grant_type is missing")
        if kind == REFRESH:
            answer, good = await self.tokens.refresh(form, request.caller)
            return Reply({**answer, "me": good.me})
        if kind != CODE:
            raise refused(UNSUPPORTED_GRANT_TYPE)
        return await self.first(form, request)

    async def first(self, form: Mapping[str, str], request: Request) -> Reply:
        """A code without scopes tells who somebody is, and is good for no token (section 5.3.3)."""
        answers: list[dict[str, Any]] = []

        def effect(redeemed: Redeemed) -> Sequence[Statement]:
            if not redeemed.code.scopes:
                raise refused(INVALID_GRANT, "no scope was granted")
            answer, statements = self.tokens.beginning(redeemed)
            answers.append(answer)
            return statements

        redeemed = await self.codes.redeem(form, effect, request.caller)
        return Reply({**answers[0], "me": redeemed.me, **profile(redeemed)})

    async def introspect(self, request: Request) -> Reply:
        """Whether a client's token is good, and whose it is (RFC 7662; IndieAuth, section 6)."""
        good = await self.tokens.either(presented(request))
        return Reply({"active": False} if good is None else members(good))

    async def revoke(self, request: Request) -> Reply:
        """Give a token up, and those that came with it; of one that is none nothing is said."""
        await self.tokens.revoke(presented(request))
        return Reply({})

    async def userinfo(self, request: Request) -> Reply:
        """The profile of the user whose token it is (IndieAuth, section 9)."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return Reply({}, 401, {"WWW-Authenticate": "Bearer"})  # without a code: RFC 6750, 3.1
        good = await self.tokens.access(token.strip())
        if good is None:
            raise challenge(CLIENT_TOKEN_INVALID, "invalid_token")
        known = described(good.person, good.token.scopes)
        if known is None:
            raise challenge(INSUFFICIENT_SCOPE, "insufficient_scope")
        return Reply(dict(known))


def profile(redeemed: Redeemed) -> Mapping[str, Any]:
    known = described(redeemed.person, redeemed.code.scopes)
    return {} if known is None else {"profile": known}


def presented(request: Request) -> str:
    token = request.body.get("token")
    if not token:
        raise refused(INVALID_REQUEST, "token is missing")
    return str(token)


def members(good: Good) -> Mapping[str, Any]:
    token = good.token
    return {
        "active": True,
        "me": good.me,
        "client_id": token.client_id,
        "scope": joined(token.scopes),
        "exp": token.expires_at,
        "iat": token.issued_at,
    }


def challenge(problem: Any, code: str) -> AuthError:
    return refused(problem, headers={"WWW-Authenticate": f'Bearer error="{code}"'})
